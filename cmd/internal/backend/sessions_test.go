package backend_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/backend"
)

func TestSessionsAsCSV(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "gw-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	seq := 0
	line := func(record string) {
		seq++
		fmt.Fprintf(&file, `{"gateway":"gw-1","ledger":"l1","seq":%d,"hash":"h","record":%s}`+"\n", seq, record)
	}
	const event = `{"type":"TransactionEvent","eventType":%q,"transactionId":%q,"seqNo":%d,"stoppedReason":%q,"station":"washer","kind":"laundry",` +
		`"account":"r-1","uid":"u","meterStart":100,"meterValue":%d,"energy":%d,"seconds":%d,"review":%s,"at":{"bootId":%q,"bootUs":%d,"wall":"1970-01-01T00:00:10.000Z","clock":"unknown"}}`
	line(fmt.Sprintf(event, "Started", "t1", 0, "", 100, 0, 0, "null", "b1", 10_000_000))
	line(fmt.Sprintf(event, "Ended", "t1", 1, "Other", 850, 750, 3600, `["MeterLost"]`, "b1", 3_610_000_000))
	line(fmt.Sprintf(event, "Ended", "t1", 1, "Other", 850, 750, 3600, `["MeterLost"]`, "b1", 3_610_000_000))
	line(`{"type":"ClockAnchor","source":"kernel","why":"first","at":{"bootId":"b1","bootUs":3620000000,"wall":"2026-07-01T12:00:20.000Z","clock":"synced"}}`)
	line(fmt.Sprintf(event, "Started", "t2", 0, "", 850, 0, 0, "null", "b2", 5_000_000))
	file.WriteString(`{"torn`)
	if err := os.WriteFile(filepath.Join(dir, "gw-1", "l1.jsonl"), file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Skip("no time zones on this machine")
	}
	var out bytes.Buffer
	if err := (backend.CSV{Local: zurich}).Write(&out, dir); err != nil {
		t.Fatal(err)
	}
	want := "gateway,transactionId,station,kind,account,uid,startUtc,startLocal,endUtc,endLocal,seconds,energyWh,meterStart,meterEnd,stoppedReason,clock,review,state\n" +
		"gw-1,t2,washer,laundry,r-1,u,1970-01-01T00:00:10Z,1970-01-01 01:00:10,,,0,0,100,850,,unknown,TimeUnknown,open\n" +
		"gw-1,t1,washer,laundry,r-1,u,2026-07-01T11:00:10Z,2026-07-01 13:00:10,2026-07-01T12:00:10Z,2026-07-01 14:00:10,3600,750,100,850,Other,synced,MeterLost,ended\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// A time server says 2040, and is put right within the boot: the session in between
// was called synced, and has its time from what came after.
func TestTimeFromAWrongServerIsPutRight(t *testing.T) {
	at := func(up time.Duration, wall time.Time) string {
		return fmt.Sprintf(`"at":{"bootId":"b1","bootUs":%d,"wall":%q,"clock":"synced"}`, up.Microseconds(), wall.Format("2006-01-02T15:04:05.000Z"))
	}
	wrong, right := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	anchor := func(up time.Duration, wall time.Time) string {
		return `l1 h {"type":"ClockAnchor","source":"timesyncd","why":"step",` + at(up, wall) + `}`
	}
	event := func(kind string, seqNo int, up time.Duration, wall time.Time) string {
		return fmt.Sprintf(`l1 h%d {"type":"TransactionEvent","eventType":%q,"transactionId":"t1","seqNo":%d,"station":"washer","kind":"laundry",%s}`,
			seqNo, kind, seqNo, at(up, wall))
	}
	dir := stored(t, anchor(time.Minute, wrong), event("Started", 0, 10*time.Minute, wrong.Add(9*time.Minute)),
		anchor(20*time.Minute, right), event("Ended", 1, 30*time.Minute, right.Add(10*time.Minute)), anchor(24*time.Hour, right.Add(24*time.Hour-20*time.Minute+3*time.Second)))
	var out bytes.Buffer
	if err := (backend.CSV{Local: time.UTC}).Write(&out, dir); err != nil {
		t.Fatal(err)
	}
	if want := ",2026-07-01T11:50:00Z,2026-07-01 11:50:00,2026-07-01T12:10:00Z,"; !strings.Contains(out.String(), want) {
		t.Errorf("got\n%s\nwant %s", out.String(), want)
	}
}

// stored is a folder with records of gw-1, a line each of "ledger hash record".
func stored(t *testing.T, records ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "gw-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for i, r := range records {
		p := strings.SplitN(r, " ", 3)
		files[p[0]] += fmt.Sprintf(`{"gateway":"gw-1","ledger":%q,"seq":%d,"hash":%q,"record":%s}`+"\n", p[0], i+1, p[1], p[2])
	}
	for ledger, lines := range files {
		if err := os.WriteFile(filepath.Join(dir, "gw-1", ledger+".jsonl"), []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A line that no receiver has written is told and not kept in memory; what follows it
// counts.
func TestLinesOfALedgerHaveAnEnd(t *testing.T) {
	long := event("Updated", 1, 400, `,"note":"`+strings.Repeat("x", 1<<20)+`"`)
	dir := stored(t, "l1 a "+event("Started", 0, 0, ""), "l1 b "+long, "l1 c "+event("Ended", 2, 750, ""))
	var out bytes.Buffer
	err := (backend.CSV{Local: time.UTC}).Write(&out, dir)
	if err == nil || !strings.Contains(err.Error(), "l1.jsonl, line 2: longer than 1048576 bytes") {
		t.Errorf("got %.200v, want the line told", err)
	}
	if want := ",0,750,0,0,,synced,,ended\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("got\n%s\nwant a row with %s", out.String(), want)
	}
}

// event is a TransactionEvent of t1, with what else its JSON has.
func event(kind string, seqNo, energy int, more string) string {
	return fmt.Sprintf(`{"type":"TransactionEvent","eventType":%q,"transactionId":"t1","seqNo":%d,"station":"washer","kind":"laundry",`+
		`"account":"r-1","uid":"u","energy":%d,"at":{"bootId":"b","bootUs":1,"wall":"2026-07-01T12:00:00.000Z","clock":"synced"}%s}`, kind, seqNo, energy, more)
}

func TestCarriedRecordsCountOnce(t *testing.T) {
	const from7, from9 = `,"carried":{"ledger":"l1","seq":7,"hash":"h7"}`, `,"carried":{"ledger":"l1","seq":9,"hash":"h9"}`
	for _, c := range []struct {
		what    string
		records []string
		want    string // the row's end, from energyWh on
	}{
		{"in the old ledger alone", []string{"l1 h7 " + event("Started", 0, 0, ""), "l1 h8 " + event("Ended", 1, 500, "")}, "500,0,0,,synced,,ended"},
		{"in both ledgers", []string{"l1 h7 " + event("Started", 0, 0, ""), "l1 h9 " + event("Ended", 1, 500, ""),
			"l2 x1 " + event("Started", 0, 0, from7), "l2 x2 " + event("Ended", 1, 500, from9)}, "500,0,0,,synced,,ended"},
		{"the new one first", []string{"l2 h7 " + event("Started", 0, 0, ""), "l2 h9 " + event("Ended", 1, 500, ""),
			"l1 x1 " + event("Started", 0, 0, from7), "l1 x2 " + event("Ended", 1, 500, from9)}, "500,0,0,,synced,,ended"},
		{"carried only", []string{"l2 x1 " + event("Started", 0, 0, from7), "l2 x2 " + event("Ended", 1, 500, from9)}, "500,0,0,,synced,,ended"},
		{"carried twice", []string{"l2 x2 " + event("Ended", 1, 500, from9), "l3 y2 " + event("Ended", 1, 500, from9)}, "500,0,0,,synced,,ended"},
		{"another end after the card was restored", []string{"l1 h7 " + event("Started", 0, 0, ""), "l1 h8 " + event("Ended", 1, 500, ""),
			"l2 x2 " + event("Ended", 1, 900, from9)}, "500,0,0,,synced,Conflict,ended"},
		{"a fork in one ledger", []string{"l1 h8 " + event("Ended", 1, 500, ""), "l1 f8 " + event("Ended", 1, 900, "")}, "500,0,0,,synced,Conflict,ended"},
	} {
		var out bytes.Buffer
		if err := (backend.CSV{Local: time.UTC}).Write(&out, stored(t, c.records...)); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || !strings.HasSuffix(lines[1], c.want) {
			t.Errorf("%s: got\n%s\nwant one session ending in %s", c.what, out.String(), c.want)
		}
	}
}

func TestRecordsOfTomorrowStopNobodysBill(t *testing.T) {
	dir := stored(t, "l1 h1 "+`{"type":"TransactionEvent","seqNo":"one"}`, "l1 h2 "+event("Ended", 1, 500, ""), "l1 h3 "+`{"type":"Weather","at":{}}`)
	var out bytes.Buffer
	err := backend.CSV{Local: time.UTC}.Write(&out, dir)
	if err == nil || !strings.Contains(err.Error(), "record 1") || !strings.Contains(out.String(), "t1,washer") {
		t.Errorf("got %v and\n%s\nwant record 1 named and t1 billed", err, out.String())
	}
}

// One gateway's records in a batch, some of them in the folder already, and the books
// forgotten between them.
func TestFollowedSessionsComeOnceWhenBooksAreReadAnew(t *testing.T) {
	const other = `"transactionId":"t2"`
	two := strings.Replace(event("Ended", 1, 700, ""), `"transactionId":"t1"`, other, 1)
	dir := stored(t, "l1 h1 "+event("Started", 0, 0, ""))
	var out bytes.Buffer
	take, err := backend.CSV{Local: time.UTC}.Follow(&out, dir, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "gw-1", "l1.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	batch := []backend.Record{{Gateway: "gw-1", Ledger: "l1", Seq: 2, Hash: "h2", Record: []byte(event("Ended", 1, 500, ""))},
		{Gateway: "gw-1", Ledger: "l1", Seq: 3, Hash: "h3", Record: []byte(two)}}
	for _, r := range batch {
		if err := json.NewEncoder(f).Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range batch {
		if err := take(r); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.String(); strings.Count(got, "\n") != 4 || !strings.Contains(got, "500,0,0,,synced,,ended\n") || !strings.Contains(got, "700,0,0,,synced,,ended\n") {
		t.Errorf("got\n%s\nwant the header, the open session and two that ended", got)
	}
}

func TestSpreadsheetsRunNothing(t *testing.T) {
	account := func(s string) string {
		return strings.Replace(event("Ended", 1, 500, ""), `"r-1"`, fmt.Sprintf("%q", s), 1)
	}
	for in, want := range map[string]string{
		"=1+1": "'=1+1", `=HYPERLINK("http://x","y")`: `"'=HYPERLINK(""http://x"",""y"")"`, "+1": "'+1", "-cmd|' /C calc'!A0": "'-cmd|' /C calc'!A0", "@SUM(A1)": "'@SUM(A1)", "-5": "-5",
		"Zoë; Co": "Zoë; Co", "a,b": `"a,b"`, "\ta": "'\ta", "r-1": "r-1",
	} {
		var out bytes.Buffer
		if err := (backend.CSV{Local: time.UTC}).Write(&out, stored(t, "l1 h1 "+account(in))); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), ",laundry,"+want+",u,") {
			t.Errorf("%q: got\n%s\nwant %s", in, out.String(), want)
		}
	}
	for in, want := range map[string]string{"0042": `"=""0042"""`, "12345E67": `"=""12345E67"""`, "1-2": `"=""1-2"""`, "00ff": "00ff", "=1": "'=1"} {
		var out bytes.Buffer
		if err := (backend.CSV{Local: time.UTC, Excel: true}).Write(&out, stored(t, "l1 h1 "+account(in))); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), ";laundry;"+want+";u;") {
			t.Errorf("%q for Excel: got\n%s\nwant %s", in, out.String(), want)
		}
	}
	var out bytes.Buffer
	if err := (backend.CSV{Local: time.UTC, Excel: true}).Write(&out, stored(t, "l1 h1 "+account("a;b"))); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasPrefix(got, "\ufeffgateway;transactionId;") || !strings.Contains(got, `;"a;b";u;`) || strings.Count(got, "\r\n") != 2 {
		t.Errorf("for Excel: got %q", got)
	}
}

func TestFollowedSessionsComeAsTheyEnd(t *testing.T) {
	dir := stored(t, "l1 h1 "+event("Started", 0, 0, ""))
	var out bytes.Buffer
	take, err := backend.CSV{Local: time.UTC}.Follow(&out, dir, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	send := func(hash, record string) {
		if err := take(backend.Record{Gateway: "gw-1", Ledger: "l1", Hash: hash, Record: []byte(record)}); err != nil {
			t.Fatal(err)
		}
	}
	send("h2", event("Updated", 1, 100, ""))
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("before its end: got %d lines, want the header and the open session:\n%s", n, out.String())
	}
	send("h3", event("Ended", 2, 500, ""))
	send("h3", event("Ended", 2, 500, ""))
	if n := strings.Count(out.String(), "500,0,0,,synced,,ended\n"); n != 1 || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("after its end: got\n%s\nwant its row once", out.String())
	}
}
