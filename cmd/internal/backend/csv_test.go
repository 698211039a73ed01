package backend_test

import (
	"reflect"
	"strings"
	"testing"

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
		`line 3: column A: uid: "3000000001" is ambiguous`, `line 4: column A: uid: "123,45678" is ambiguous`, `line 5: column A: uid: "nobody" is no UID`, "line 6: badge 04A1B2C3 stands in line 2",
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

// What Excel makes of a list in German or Italian Switzerland is the list.
func TestListsOfASpreadsheetAreRead(t *testing.T) {
	const plain = "uid,account,services,stations,validUntil\n04A1B2C3,r-1,laundry;charging,garage-1; garage-2,2026-12-31T00:00:00Z\n04A1B2C4,Rossi Zoë,,,\n"
	want := entries(t, plain)
	semicolons := strings.NewReplacer(",", ";", "laundry;charging", `"laundry;charging"`, "garage-1; garage-2", `"garage-1; garage-2"`).Replace(plain)
	for what, list := range map[string]string{
		"semicolons":      semicolons,
		"CSV UTF-8":       "\ufeff" + strings.ReplaceAll(semicolons, "\n", "\r\n"),
		"Unicode text":    "sep=\t\r\n" + strings.ReplaceAll(strings.ReplaceAll(plain, ",", "\t"), "\n", "\r\n"),
		"a separator":     "sep=;\n" + semicolons,
		"header":          strings.Replace(semicolons, "uid;account;services;stations;validUntil", " UID ;Account;SERVICES;stations;ValidUntil;;", 1),
		"empty rows":      ";;;;\n" + strings.ReplaceAll(semicolons, "\n", "\n;;;;\n\n"),
		"empty columns":   strings.ReplaceAll(semicolons, "\n", ";;\n"),
		"an old Mac":      strings.ReplaceAll(semicolons, "\n", "\r"),
		"quotes all over": strings.NewReplacer("uid", `"uid"`, "04A1B2C3", `"04A1B2C3"`).Replace(semicolons),
	} {
		got, err := backend.ReadCSV(strings.NewReader(list))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", what, got, err, want)
		}
	}
}

// What Excel has damaged is told with its line and column, and how to keep it from that.
func TestWhatASpreadsheetDamagesIsTold(t *testing.T) {
	for what, tc := range map[string]struct{ list, want string }{
		"a UID with an E":     {"account;uid\nr-1;4,00E+02\n", `line 2: column B: uid: "4,00E+02": the spreadsheet has rounded a number; format the column as text`},
		"a decimal UID":       {"uid\n1.22182E+15\n", `line 2: column A: uid: "1.22182E+15": the spreadsheet has rounded`},
		"an account":          {"uid;account\n04A1B2C3;1,23457E+11\n", `line 2: column B: account: "1,23457E+11": the spreadsheet has rounded`},
		"a zero in front":     {"uid\n4112233\n", `line 2: column A: uid: "4112233" is ambiguous: a spreadsheet drops the zero in front of a number, so format the column as text and write the one that is meant of 04112233`},
		"one of seven bytes":  {"uid\n4112233445566\n", "04112233445566 (zero-lost)"},
		"a date":              {"sep=;\nuid;account;validUntil\n04A1B2C3;r-1;31.12.2026\n", `line 3: column C: validUntil: "31.12.2026": want the form 2026-12-31T00:00:00Z`},
		"a date with a time":  {"uid,validFrom\n04A1B2C3,31/12/2026 00:00\n", `line 2: column B: validFrom: "31/12/2026 00:00": want the form`},
		"services unquoted":   {"uid;services;account\n04A1B2C3;laundry;charging;r-1\n", "line 2: wrong number of fields: 4, the header has 3"},
		"Latin-1":             {"uid;account\n04A1B2C3;M\xfcller\n", "line 2: not plain text in UTF-8; save it from the spreadsheet as CSV UTF-8"},
		"a workbook":          {"PK\x03\x04\x14\x00\x06\x00\x08\x00", "line 1: not plain text"},
		"a row without a UID": {"uid;account\n;r-1\n", `line 2: column A: uid: "" is no UID`},
		"German names":        {"uid;Gültig bis\n04A1B2C3;\n", `line 1: column B: "Gültig bis": no such column; want uid, and of the others`},
		"nothing":             {"", "empty; want a header with a column uid"},
	} {
		if _, err := backend.ReadCSV(strings.NewReader(tc.list)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", what, err, tc.want)
		}
	}
}

func TestTenWrongLinesAreEnough(t *testing.T) {
	_, err := backend.ReadCSV(strings.NewReader("uid\n" + strings.Repeat("x\n", 100)))
	if n := len(strings.Split(err.Error(), "\n")); n != 10 {
		t.Errorf("got %d lines, want 10", n)
	}
}
