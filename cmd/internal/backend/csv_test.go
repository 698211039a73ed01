package backend_test

import (
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"badged/cmd/internal/backend"
)

func TestUIDsInAnyFormThatMeansOneBadge(t *testing.T) {
	entries, err := backend.ReadCSV(strings.NewReader("uid,account\n04:a1:b2:c3,r-1\n30949AD1,r-2\n\"04 44 94 C0 22 8B 80\",r-3\n04A1B2C4D3,r-4\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, string(e.UID))
	}
	if want := "044494C0228B80 04A1B2C3 04A1B2C4 30949AD1"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestAmbiguousUIDsAreRefusedWithTheirLines(t *testing.T) {
	_, err := backend.ReadCSV(strings.NewReader("uid\n04A1B2C3\n3000000001\n\"123,45678\"\nnobody\n04-A1-B2-C3\n"))
	if err == nil {
		t.Fatal("got no error, want four lines refused")
	}
	for i, want := range []string{
		`line 3: "3000000001" is ambiguous`, `line 4: "123,45678" is ambiguous`, `line 5: "nobody" is no UID`, "line 6: badge 04A1B2C3 stands in line 2",
	} {
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[i], want) {
			t.Errorf("got %q, want 4 lines, one with %q", lines, want)
		}
	}
	if !strings.Contains(err.Error(), "B2D05E01 (decimal), 015ED0B2 (decimal-reversed)") {
		t.Errorf("got %v, want the readings to choose from", err)
	}
}

// A device without an end is refused, also behind rows that are right.
func TestListsHaveAnEnd(t *testing.T) {
	for line, head := range map[string]string{"line 1 ": "", "line 3 ": "uid\n04A1B2C3\n"} {
		zero, err := os.Open("/dev/zero")
		if err != nil {
			t.Fatal(err)
		}
		defer zero.Close()
		if _, err := backend.ReadCSV(io.MultiReader(strings.NewReader(head), zero)); err == nil || !strings.Contains(err.Error(), line+"is longer than 64 KiB") {
			t.Errorf("%q and then zeros: got %v", head, err)
		}
	}
	long := "uid,account\n" + strings.Repeat("04A1B2C3,"+strings.Repeat("r", 60<<10)+"\n", 3)
	if _, err := backend.ReadCSV(iotest.OneByteReader(strings.NewReader(long))); err == nil || strings.Contains(err.Error(), "64 KiB") {
		t.Errorf("got %v, want lines below the bound read one by one", err)
	}
}
