package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/control"
)

// runWith runs the command line on an input and returns what it printed.
func runWith(t *testing.T, in string, args ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(in), &o, &e)
	return o.String(), e.String(), code
}

func TestIdentifyOneCard(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		out  string
		code int
	}{
		{"a Classic", []string{"--atqa", "0400", "--sak", "08", "--uid", "04A1B2C3"}, "classic-1k: MIFARE Classic 1K", 0},
		{"a SmartMX", []string{"--atqa", "0400", "--sak", "28", "--uid", "5D97B4F5"}, "reject-tcl: DualInterface", 0},
		{"without ATQA", []string{"--sak", "20", "--uid", "0426DF47D83C80", "--ats", "067577810280"}, "desfire", 0},
		{"a contradiction", []string{"--atqa", "0400", "--sak", "08", "--uid", "044494C0228B80"}, "note: ATQASize", 0},
		{"without UID", []string{"--sak", "08"}, "", 1},
		{"no hex", []string{"--sak", "0x08", "--uid", "04A1B2C3"}, "", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, errOut, code := runWith(t, "", append([]string{"identify"}, tc.args...)...)
			if code != tc.code || !strings.Contains(out, tc.out) {
				t.Errorf("got %q, %q, code %d, want %q, code %d", out, errOut, code, tc.out, tc.code)
			}
		})
	}
}

func TestIdentifyAnswersEveryLine(t *testing.T) {
	in := strings.Join([]string{
		`{"id":"a","uid":"04a1b2c3","atqa":"0400","sak":"08","ats":"","truth":"classic-1k","hard":[1,{"x":2}]}`,
		``,
		`{"id":"b","uid":"0426DF47D83C80","atqa":"4403","sak":"20","ats":"067577810280","sak_levels":["24","20"],"desfire_version":"04010101001805"}`,
		`no card at all`,
		`{"id":"c","uid":"","sak":"08"}`,
		`{"id":"d","uid":"04A1B2C3","sak":8}`,
		`{"id":"e","uid":"04A1B2C3","atqa":"0400","sak":"0G"}`,
		`{"id":"f","uid":"` + strings.Repeat("0", 2*maxLine) + `"}`,
		`{"id":"g","uid":"9C599B32","atqa":"0400","sak":"88"}`,
	}, "\n")
	out, errOut, code := runWith(t, in, "identify")
	want := []string{
		`{"id":"a","type":"classic-1k","verdict":"accept","reason":""}`,
		`{"id":"b","type":"desfire-ev1","verdict":"reject-tcl","reason":"DESFire"}`,
		`"verdict":"reject-other","reason":"Malformed","error":"line 4: `,
		`{"id":"c","type":"classic-1k","verdict":"reject-other","reason":"Malformed","error":"line 5: `,
		`"reason":"Malformed","error":"line 6: `,
		`"reason":"Malformed","error":"line 7: SAK \"0G\"`,
		`"reason":"Malformed","error":"line 8: longer than`,
		`{"id":"g","type":"classic-1k","verdict":"accept","reason":""}`,
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), out)
	}
	for i, w := range want {
		if !strings.Contains(lines[i], w) {
			t.Errorf("line %d: got %s, want %s", i+1, lines[i], w)
		}
	}
	if code != exitFailed || !strings.Contains(errOut, "5 of 8 lines") {
		t.Errorf("got code %d and %q, want %d and how many were no cards", code, errOut, exitFailed)
	}
}

func TestIdentifySaysThatItReadsLines(t *testing.T) {
	out, _, code := runWith(t, "", "identify", "--help")
	_, example, _ := strings.Cut(out, "echo '")
	line, _, found := strings.Cut(example, "' | badgectl identify")
	if code != 0 || !found {
		t.Fatalf("got code %d and %s, want an example of a line", code, out)
	}
	if out, _, code := runWith(t, line, "identify"); code != 0 || !strings.Contains(out, "classic-1k") {
		t.Errorf("the example: got %s, code %d, want a Classic", out, code)
	}
}

func TestIdentifyAnswersAtOnce(t *testing.T) {
	in, feed := io.Pipe()
	answers, out := io.Pipe()
	go run(context.Background(), []string{"identify"}, in, out, io.Discard)
	d := json.NewDecoder(answers)
	for i := range 3 {
		fmt.Fprintf(feed, `{"id":"%d","uid":"04A1B2C3","atqa":"0400","sak":"08"}`+"\n", i)
		var got identification
		if err := d.Decode(&got); err != nil || got.ID != fmt.Sprint(i) {
			t.Fatalf("got %+v, %v, want an answer to line %d before the next is sent", got, err, i)
		}
	}
	feed.Close()
}

// BenchmarkIdentifyLines reports how many cards a second come through the command.
func BenchmarkIdentifyLines(b *testing.B) {
	doc, err := os.ReadFile("../../mifare/testdata/public.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	lines := 0
	for b.Loop() {
		if err := identifyLines(bytes.NewReader(doc), io.Discard); err != nil {
			b.Fatal(err)
		}
		lines += bytes.Count(doc, []byte("\n"))
	}
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "cards/s")
}

func TestUIDSaysWhatAListWouldTake(t *testing.T) {
	for _, tc := range []struct {
		text string
		code int
		says []string
	}{
		{"04:A1:B2:C3", 0, []string{"04A1B2C3", "what a list takes it for", "C3B2A104", "turned the bytes round"}},
		{"77705923", 0, []string{"77705923  hex", "what a list takes it for", "decimal"}},
		{"3000000001", 1, []string{"decimal-reversed", "is ambiguous"}},
		{"123,45678", 1, []string{"7BB26E??", "lost in this form", "wiegand-34"}},
		{"8804A1B2C3D4E5", 1, nil},
		{"badge", 1, []string{"is no UID", "hint:"}},
	} {
		t.Run(tc.text, func(t *testing.T) {
			out, errOut, code := runWith(t, "", "uid", tc.text)
			for _, s := range tc.says {
				if !strings.Contains(out+errOut, s) {
					t.Errorf("got %q and %q, want %q in it", out, errOut, s)
				}
			}
			if code != tc.code {
				t.Errorf("got code %d, want %d: %s%s", code, tc.code, out, errOut)
			}
		})
	}
	out, _, _ := runWith(t, "", "--json", "uid", "04-a1-b2-c3")
	want := `{"text":"04-a1-b2-c3","uid":"04A1B2C3","readings":[{"uid":"04A1B2C3","form":"hex","complete":true,"doubtful":false},` +
		`{"uid":"C3B2A104","form":"hex-reversed","complete":true,"doubtful":true}]}` + "\n"
	if out != want {
		t.Errorf("got %s, want %s", out, want)
	}
}

func TestTapOfABadgeThatIsEnrolled(t *testing.T) {
	ev := control.Event{Kind: "enrolled", Type: "desfire-ev1", Verdict: "reject-tcl", Reason: "DESFire"}
	var got strings.Builder
	printTap(&got, tapResult{UID: "0426DF47D83C80", Type: ev.Type, Verdict: ev.Verdict, Reason: ev.Reason}, ev)
	want := "0426DF47D83C80  desfire-ev1, reject-tcl\n  read for enrolment, not authorised\n"
	if got.String() != want {
		t.Errorf("got %q, want %q", got.String(), want)
	}
}

func TestWatchLines(t *testing.T) {
	at := time.Date(2026, 3, 1, 14, 3, 7, 512e6, time.Local)
	events := []control.Event{
		{Kind: "card", Reader: "hall", UID: "04A1…C3", Type: "classic-1k", Confidence: "likely", Name: "MIFARE Classic 1K", Verdict: "accept"},
		{Kind: "decision", Reader: "hall", UID: "04A1…C3", Type: "classic-1k", Verdict: "accept", Status: "Accepted", Station: "washer", TransactionID: "t-1", Text: "washer is on"},
		{Kind: "removed", Reader: "hall", UID: "04A1…C3"},
		{Kind: "card", Reader: "hall", UID: "0426…80", Type: "desfire-ev1", Confidence: "certain", Name: "MIFARE DESFire EV1", Verdict: "reject-tcl", Reason: "DESFire"},
		{Kind: "decision", Reader: "hall", UID: "0426…80", Type: "desfire-ev1", Verdict: "reject-tcl", Status: "Invalid", Reason: "DESFire", Text: "Wrong kind of badge (DESFire)"},
		{Kind: "card", Reader: "yard", UID: "5D97…F5", Type: "plus-sl1", Confidence: "certain", Name: "MIFARE Plus X in SL1", Verdict: "accept", Shadow: "PlusSL1", Notes: []string{"ATQASize", "TypeChanged"}},
		{Kind: "decision", Reader: "yard", UID: "5D97…F5", Type: "plus-sl1", Status: "Unknown", Reason: "UnknownBadge", Text: "Unknown badge"},
		{Kind: "enrol", Text: "the next badge is read, not authorised"},
		{Kind: "enrolled", Reader: "yard", UID: "5D97…F5", Type: "plus-sl1"},
		{Kind: "reader", Reader: "hall", Text: "lost: mfrc522: no answer"},
		{Kind: "list", Text: "applied: version 1.7, 420 badges"},
	}
	var got strings.Builder
	for _, e := range events {
		e.At = at
		fmt.Fprintln(&got, watchLine(e))
	}
	want, err := os.ReadFile("testdata/watch.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}
