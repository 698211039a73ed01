package backend_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"badged/cmd/internal/backend"
)

// FuzzRecord sends anything as a gateway's message: what is taken has the hash that
// it says, and comes back from its line as it was.
func FuzzRecord(f *testing.F) {
	g := &gateway{t: f, prev: firstPrev}
	f.Add(g.record(""))
	f.Add(g.record(`,"account":"Zoë <r-1042>","at":{"up":1,"clock":"synced"}`))
	f.Add(bytes.Replace(g.record(`,"a":[1,"\u2028",true]`), []byte(`"v":1`), []byte(`"v":1, "time":{"wall":"x"}`), 1))
	f.Fuzz(func(t *testing.T, payload []byte) {
		rec, again, err := backend.ParseRecord("badged/v1/gateways/gw-1/events", payload)
		if err != nil {
			return
		}
		if sum := sha256.Sum256(rec.Record); hex.EncodeToString(sum[:]) != rec.Hash || rec.Gateway != "gw-1" || rec.Seq == 0 {
			t.Errorf("took %+v", rec)
		}
		if !bytes.Equal(again.Record, rec.Record) || again.Hash != rec.Hash || again.Ledger != rec.Ledger || again.Seq != rec.Seq {
			t.Errorf("got %+v back, want %+v", again, rec)
		}
	})
}

// FuzzStoredLedger opens a folder with anything as the file of a ledger: it opens,
// twice with the same result, and is checked and written as CSV.
func FuzzStoredLedger(f *testing.F) {
	whole := func(records ...string) (b []byte) {
		g := &gateway{t: f, prev: firstPrev}
		for _, fields := range records {
			rec, _, err := backend.ParseRecord("badged/v1/gateways/gw-1/events", g.record(fields))
			if err != nil {
				f.Fatal(err)
			}
			line, err := backend.FormatLine(rec)
			if err != nil {
				f.Fatal(err)
			}
			b = append(b, line...)
		}
		return b
	}
	three := whole("", `,"type":"TransactionEvent","eventType":"Started","transactionId":"t"`, `,"type":"TransactionEvent","eventType":"Ended","seqNo":1,"transactionId":"t"`)
	f.Add(three)
	f.Add(three[:len(three)-9])
	f.Add(append(bytes.Clone(three), three...))
	f.Add(bytes.Replace(three, []byte("\n"), []byte("\n{}\n"), 1))
	f.Fuzz(func(t *testing.T, file []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "gw-1", "l1.jsonl")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		var found [2][]backend.Checked
		for i := range found {
			r, err := backend.OpenReceiver(dir, backend.ReceiverOpts{})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if err := backend.Check(dir, func(c backend.Checked) error { found[i] = append(found[i], c); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(found[0], found[1]) {
			t.Errorf("got %+v, then %+v", found[0], found[1])
		}
		_ = backend.CSV{Local: time.UTC}.Write(io.Discard, dir) // records that are none are told
	})
}
