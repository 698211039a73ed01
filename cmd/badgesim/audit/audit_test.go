package audit_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"badged/cmd/badgesim/audit"
)

// fields are a record's members.
type fields = map[string]any

// story is one that is right in everything, for tests to spoil.
type story struct {
	site    audit.Site
	ledgers []string            // in order
	records map[string][]fields // by ledger, without what the chain adds
	log     []audit.Entry
}

const second = 1_000_000 // µs

// washed is a wash of 20 Wh, a power cut in the next, of which 5 Wh are lost of
// 30, and a car that takes 100 Wh; the second ledger follows on the first.
func washed() *story {
	st := &story{site: audit.Site{Gateway: "gw", SiteKey: []byte("secret"), Stations: []audit.Station{
		{ID: "washer", Reader: "hall", Pulse: 0.1, Release: time.Second},
		{ID: "charger", Reader: "garage", Charging: true},
	}}, ledgers: []string{"one", "two"}, records: map[string][]fields{}}
	st.log = []audit.Entry{
		{AtUs: 1 * second, What: "boot", BootID: "b1"},
		{AtUs: 51 * second, What: "boot", BootID: "b2"},
		{AtUs: 2 * second, What: "list", Version: 1, Badges: map[string]string{"04A1B2C3": "Accepted", "30949AD1": "Accepted"}},
		{AtUs: 3 * second, What: "said", Version: 1},
		{AtUs: 80 * second, What: "list", Version: 2, Badges: map[string]string{"04A1B2C3": "Blocked", "30949AD1": "Accepted"}},
		{AtUs: 85 * second, What: "said", Version: 2},
		{AtUs: 50 * second, What: "cut"},
		{AtUs: 52 * second, What: "up"},
		{AtUs: 200 * second, What: "meter", Station: "washer", Unattributed: 2_000},
		{AtUs: 200 * second, What: "meter", Station: "charger", Unattributed: 1_000},
	}
	st.session("one", "w1", "washer", "04A1B2C3", "b1", 10, 20, 20)
	st.power("washer", 10, 0, 21, 22)
	st.log = append(st.log, audit.Entry{AtUs: 20.01 * second, What: "load", Station: "washer", Wh: 20}) // then in door release
	st.session("one", "w2", "washer", "30949AD1", "b1", 40, 60, 25)
	st.records["one"][len(st.records["one"])-1]["at"] = at("b2", 60-51)
	st.records["one"][len(st.records["one"])-1]["review"] = []string{"PowerLoss", "Estimated"}
	st.power("washer", 40, 22, 50, 42)
	st.power("washer", 51, 42, 60, 52)
	st.records["two"] = []fields{{"type": "LedgerOpened", "gateway": "gw", "before": "one", "why": "restored", "at": at("b2", 61-51)}}
	st.session("two", "c1", "charger", "30949AD1", "b2", 100, 130, 100)
	st.power("charger", 100, 0, 130, 101)
	return st
}

func at(boot string, s float64) fields {
	return fields{"bootId": boot, "bootUs": int64(s * second), "wall": "2026-07-01T12:00:00.000Z", "clock": "synced"}
}

// booted is when the boots began, in seconds.
var booted = map[string]float64{"b1": 1, "b2": 51}

// session adds a tap, its answer and two records.
func (st *story) session(ledger, id, station, uid, boot string, from, to float64, wh int64) {
	reader := map[string]string{"washer": "hall", "charger": "garage"}[station]
	st.log = append(st.log,
		audit.Entry{AtUs: int64((from - 0.1) * second), What: "put", Reader: reader, UID: uid},
		audit.Entry{AtUs: int64((from + 0.1) * second), What: "removed", Reader: reader, UID: uid},
		audit.Entry{AtUs: int64((from + 0.1) * second), What: "answer", Status: "Accepted", Station: station, TransactionID: id})
	h := hmac.New(sha256.New, st.site.SiteKey)
	h.Write([]byte(uid))
	version := 1
	if from > 80 {
		version = 2
	}
	start := int64(0)
	for _, r := range st.records[ledger] {
		if r["station"] == station {
			start = r["meterValue"].(int64)
		}
	}
	for seq, kind := range []string{"Started", "Ended"} {
		r := fields{"type": "TransactionEvent", "eventType": kind, "transactionId": id, "seqNo": seq, "station": station,
			"uid": hex.EncodeToString(h.Sum(nil)[:16]), "account": "Zoë \"<&>\"\n\u2028", "list": fields{"epoch": 1, "version": version},
			"meterStart": start, "meterValue": start + wh*int64(seq), "energy": wh * int64(seq),
			"seconds": int64(to-from) * int64(seq), "at": at(boot, from+(to-from)*float64(seq)-booted[boot])}
		if len(st.records[ledger]) == 0 {
			st.records[ledger] = []fields{{"type": "LedgerOpened", "gateway": "gw", "why": "new", "at": at("b1", 1)}}
		}
		st.records[ledger] = append(st.records[ledger], r)
	}
}

// power closes a station's relay while its machine draws.
func (st *story) power(station string, from, whFrom, to, whTo float64) {
	st.log = append(st.log,
		audit.Entry{AtUs: int64((from + 0.01) * second), What: "relay", Station: station, On: true, Wh: whFrom},
		audit.Entry{AtUs: int64((to + 0.01) * second), What: "relay", Station: station, Wh: whTo})
}

// chained gives the records their places and hashes, as a gateway does.
func (st *story) chained(t *testing.T) (out []audit.Record) {
	t.Helper()
	for _, ledger := range st.ledgers {
		prev := strings.Repeat("0", 64)
		for i, r := range st.records[ledger] {
			r["ledger"], r["seq"], r["prev"] = ledger, i+1, prev
			var b bytes.Buffer
			e := json.NewEncoder(&b) // sorts names, as RFC 8785 wants
			e.SetEscapeHTML(false)
			if err := e.Encode(r); err != nil {
				t.Fatal(err)
			}
			// Go escapes these two even so.
			text := strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSpace(b.String()))
			sum := sha256.Sum256([]byte(text))
			prev = hex.EncodeToString(sum[:])
			out = append(out, audit.Record{Gateway: "gw", Ledger: ledger, Seq: uint64(i + 1), Hash: prev, Record: []byte(text)})
		}
	}
	return out
}

// event is a record of a session.
func (st *story) event(id string, seqNo int) fields {
	for _, records := range st.records {
		for _, r := range records {
			if r["transactionId"] == id && r["seqNo"] == seqNo {
				return r
			}
		}
	}
	return nil
}

// bill makes a session's energy another.
func (st *story) bill(id string, wh int64) {
	e := st.event(id, 1)
	e["energy"], e["meterValue"] = wh, e["meterStart"].(int64)+wh
}

// entry is the nth line of the log of a kind.
func (st *story) entry(what string, n int) *audit.Entry {
	for i := range st.log {
		if st.log[i].What == what {
			if n == 0 {
				return &st.log[i]
			}
			n--
		}
	}
	return nil
}

func (st *story) without(what string, n int) {
	e := *st.entry(what, n)
	i := slices.IndexFunc(st.log, func(x audit.Entry) bool { return fmt.Sprint(x) == fmt.Sprint(e) })
	st.log = slices.Delete(st.log, i, i+1)
}

// A store has its records in the order in which they came.
func TestWhatIsRightIsFoundRight(t *testing.T) {
	st := washed()
	records := st.chained(t)
	slices.Reverse(records)
	records = append(records, records[2]) // a backend that keeps what came twice
	findings, figures := audit.Check(st.site, records, st.log)
	if len(findings) > 0 {
		t.Errorf("got %v, want nothing", findings)
	}
	if figures.Sessions != 3 || figures.Closings != 4 || figures.Answers != 3 || figures.Ledgers != 2 {
		t.Errorf("got %v", figures)
	}
}

// Each of these must be found, by the rule that is there for it.
func TestWhatIsWrongIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		rule   string
		spoil  func(*story)                        // what the gateway did
		tamper func([]audit.Record) []audit.Record // what became of the store
	}{
		"a record is missing in the middle": {rule: "chain", tamper: func(r []audit.Record) []audit.Record { return slices.Delete(r, 2, 3) }},
		"the first record is missing":       {rule: "chain", tamper: func(r []audit.Record) []audit.Record { return r[1:] }},
		"the end is missing":                {rule: "session", tamper: func(r []audit.Record) []audit.Record { return r[:len(r)-1] }},
		"a whole ledger is missing": {rule: "chain", tamper: func(r []audit.Record) []audit.Record {
			return slices.DeleteFunc(r, func(r audit.Record) bool { return r.Ledger == "one" })
		}},
		"a record was changed": {rule: "chain", tamper: func(r []audit.Record) []audit.Record {
			r[2].Record = bytes.Replace(r[2].Record, []byte(`"energy":20`), []byte(`"energy":19`), 1)
			return r
		}},
		"a record was changed and hashed again": {rule: "chain", tamper: func(r []audit.Record) []audit.Record {
			r[2].Record = bytes.Replace(r[2].Record, []byte(`"seconds":10`), []byte(`"seconds":11`), 1)
			sum := sha256.Sum256(r[2].Record)
			r[2].Hash = hex.EncodeToString(sum[:])
			return r
		}},
		"the chain forks": {rule: "chain", tamper: func(r []audit.Record) []audit.Record {
			fork := r[2]
			fork.Hash = strings.Repeat("f", 64)
			return append(r, fork)
		}},
		"a number that JSON has no one form of": {rule: "chain", spoil: func(st *story) { st.event("w1", 1)["power"] = 1.5 }},
		"a second ledger that follows none":     {rule: "chain", spoil: func(st *story) { delete(st.records["two"][0], "before") }},
		"two ledgers follow one": {rule: "chain", spoil: func(st *story) {
			st.ledgers = append(st.ledgers, "three")
			st.records["three"] = []fields{{"type": "LedgerOpened", "gateway": "gw", "before": "one", "why": "damaged", "at": at("b2", 20)}}
		}},
		"a session came twice, under another number": {rule: "session", spoil: func(st *story) {
			st.session("two", "w2", "washer", "30949AD1", "b2", 140, 150, 0)
		}},
		"a session never ended":  {rule: "session", spoil: func(st *story) { st.records["two"] = st.records["two"][:2] }},
		"a seqNo is missing":     {rule: "session", spoil: func(st *story) { st.event("c1", 1)["seqNo"] = 2 }},
		"two sessions at a time": {rule: "session", spoil: func(st *story) { st.event("w1", 1)["at"] = at("b1", 45) }},
		"energy that goes back":  {rule: "session", spoil: func(st *story) { st.bill("c1", -1) }},
		"one tap, two sessions": {rule: "tap", spoil: func(st *story) {
			st.without("put", 2)
			st.session("two", "c2", "charger", "30949AD1", "b2", 100.05, 130, 0)
			st.without("put", 2)
			st.log = append(st.log, audit.Entry{AtUs: 99 * second, What: "put", Reader: "garage", UID: "30949AD1"})
		}},
		"nobody tapped":            {rule: "tap", spoil: func(st *story) { st.without("put", 2) }},
		"another badge was tapped": {rule: "tap", spoil: func(st *story) { st.entry("put", 2).UID = "04A1B2C3" }},
		"a resident was told of it, and it is gone": {rule: "answer", spoil: func(st *story) {
			st.log = append(st.log, audit.Entry{AtUs: 90 * second, What: "answer", Status: "Accepted", Station: "washer", TransactionID: "gone"})
		}},
		"a relay closed without a session":  {rule: "relay", spoil: func(st *story) { st.power("charger", 140, 101, 141, 101) }},
		"a relay closed before its session": {rule: "relay", spoil: func(st *story) { st.entry("relay", 6).AtUs = 99 * second }},
		"a relay that stays on":             {rule: "relay", spoil: func(st *story) { st.without("relay", 7) }},
		"a relay that never closed":         {rule: "relay", spoil: func(st *story) { st.without("relay", 6) }},
		"more is billed than was drawn":     {rule: "energy", spoil: func(st *story) { st.bill("c1", 103) }},
		"less is billed than was drawn":     {rule: "energy", spoil: func(st *story) { st.bill("c1", 90) }},
		"pulses are lost without a cut": {rule: "energy", spoil: func(st *story) {
			st.bill("w1", 12)
			st.event("w2", 0)["meterStart"], st.event("w2", 1)["meterStart"] = int64(20), int64(20)
		}},
		"energy is nobody's that somebody paid": {rule: "energy", spoil: func(st *story) { st.entry("meter", 1).Unattributed = 4_000 }},
		"a clock made it longer":                {rule: "time", spoil: func(st *story) { st.event("c1", 1)["seconds"] = 3630 }},
		"a clock made it shorter":               {rule: "time", spoil: func(st *story) { st.event("c1", 1)["seconds"] = 28 }},
		"a boot that never was":                 {rule: "time", spoil: func(st *story) { st.event("c1", 1)["at"] = at("b9", 1) }},
		"a blocked badge started":               {rule: "list", spoil: func(st *story) { st.session("two", "c2", "charger", "04A1B2C3", "b2", 140, 150, 0) }},
		"an old list came back":                 {rule: "list", spoil: func(st *story) { st.event("c1", 0)["list"] = fields{"epoch": 1, "version": 1} }},
		"a version before comes in force": {rule: "list", spoil: func(st *story) {
			st.log = append(st.log, audit.Entry{AtUs: 106 * second, What: "said", Version: 1})
		}},
		"a list that nobody published": {rule: "list", spoil: func(st *story) { st.event("c1", 0)["list"] = fields{"epoch": 1, "version": 3} }},
		"a withdrawn badge goes on charging": {rule: "list", spoil: func(st *story) {
			st.log = append(st.log, audit.Entry{AtUs: 105 * second, What: "list", Version: 3, Badges: map[string]string{}},
				audit.Entry{AtUs: 106 * second, What: "said", Version: 3})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			st := washed()
			if c.spoil != nil {
				c.spoil(st)
			}
			records := st.chained(t)
			if c.tamper != nil {
				records = c.tamper(records)
			}
			findings, _ := audit.Check(st.site, records, st.log)
			if !slices.ContainsFunc(findings, func(f audit.Finding) bool { return f.Rule == c.rule }) {
				t.Errorf("got %v, want a finding by the rule %q", findings, c.rule)
			}
		})
	}
}

// Records that came again in a later ledger are the same records.
func TestWhatWasCarriedOverCountsOnce(t *testing.T) {
	st := washed()
	before := st.chained(t)
	again := fields{}
	for name, v := range st.event("w2", 1) {
		again[name] = v
	}
	again["carried"] = fields{"ledger": "one", "seq": 5, "hash": before[4].Hash}
	st.records["two"] = slices.Insert(st.records["two"], 1, again)
	if findings, _ := audit.Check(st.site, st.chained(t), st.log); len(findings) > 0 {
		t.Errorf("got %v, want nothing", findings)
	}
	again["carried"] = fields{"ledger": "one", "seq": 5, "hash": before[3].Hash}
	if findings, _ := audit.Check(st.site, st.chained(t), st.log); len(findings) == 0 {
		t.Error("got nothing, want two stories of one session found")
	}
}

// The store is read as badgectl writes it.
func TestStoreAndLogAreRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "gw"), 0o700); err != nil {
		t.Fatal(err)
	}
	line := `{"gateway":"gw","ledger":"one","seq":1,"hash":"ab","record":{"type":"LedgerOpened"},"time":{}}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "gw", "one.jsonl"), []byte(line+line), 0o600); err != nil {
		t.Fatal(err)
	}
	records, err := audit.ReadStore(dir)
	if err != nil || len(records) != 2 || records[1].Ledger != "one" || string(records[1].Record) != `{"type":"LedgerOpened"}` {
		t.Errorf("got %+v, want two records (%v)", records, err)
	}
	log, err := audit.ReadLog(strings.NewReader(`{"atUs":5,"what":"cut"}` + "\n"))
	if err != nil || len(log) != 1 || log[0].AtUs != 5 {
		t.Errorf("got %+v, want a cut (%v)", log, err)
	}
}

// What judges must not be made of what is judged.
func TestAuditLinksNothingOfOurs(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range strings.Fields(string(out)) {
		if first, _, _ := strings.Cut(dep, "/"); dep != "badged/cmd/badgesim/audit" && (first == "badged" || strings.Contains(first, ".")) {
			t.Errorf("audit links %s, want the standard library alone", dep)
		}
	}
}
