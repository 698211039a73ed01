package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEventsAsCSVNeedNoBroker(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "gw-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	record := `{"gateway":"gw-1","ledger":"l1","seq":1,"hash":"h","record":{"type":"TransactionEvent","eventType":"Ended","transactionId":"t1","seqNo":1,` +
		`"station":"washer","kind":"laundry","energy":750,"at":{"bootId":"b","bootUs":1,"wall":"2026-07-01T12:00:00.000Z","clock":"synced"}}}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "gw-1", "l1.jsonl"), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := badgectl(t, "events", "--csv", "--store", dir, "--tz", "Europe/Zurich")
	if code != 0 || !strings.HasPrefix(out, "gateway,transactionId,") || !strings.Contains(out, "gw-1,t1,washer,laundry") ||
		!strings.Contains(out, "2026-07-01 14:00:00") {
		t.Errorf("got exit %d, %s%s, want the session with its local time", code, out, errOut)
	}
}

func TestEventsRefuseFlagsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		what, args, says string
		code             int
	}{
		{"nothing to read from", "events", "--broker", 2},
		{"nothing stored", "events --csv", "--store", 2},
		{"nothing to keep in", "events --broker tcp://127.0.0.1:1 --ack", "--store", 2},
		{"both stored and live", "events --csv --store x --broker tcp://127.0.0.1:1", "--follow", 2},
		{"no such folder", "events --csv --store nowhere", "nowhere", 1},
		{"no such zone", "events --csv --store x --tz Europe/Nowhere", "Nowhere", 1},
	} {
		_, errOut, code := badgectl(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(errOut, c.says) {
			t.Errorf("%s: got exit %d and %s, want %d and %q", c.what, code, errOut, c.code, c.says)
		}
	}
}
