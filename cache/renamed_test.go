package cache_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"badged/cache"
)

// opened is what a ledger's first record says.
type opened struct {
	Type, Ledger, Gateway, Before, Why string
	Carried                            struct {
		Ledger string
		Seq    uint64
	}
}

func openings(t *testing.T, l *cache.Ledger) (records []opened) {
	t.Helper()
	for _, m := range unsent(t, l, 1000) {
		var r opened
		if err := json.Unmarshal(m.Record, &r); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

// A card that is provisioned for another gateway has a ledger whose numbers the
// backend knows as the former one's. What it lacks comes along, under numbers that
// are the new one's.
func TestLedgerOfAnotherGatewayIsFollowedByANewOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := openLedger(t, path, opts)
	commit(t, l, 10)
	before := stats(t, l)
	messages := unsent(t, l, 1000)
	if err := l.Acknowledge(t.Context(), before.Ledger, 6, messages[5].Hash); err != nil {
		t.Fatal(err)
	}
	l.Close()

	l = openLedger(t, path, opts)
	if got := stats(t, l); got.Ledger != before.Ledger || got.End != before.End {
		t.Errorf("got %+v for the same gateway, want %+v", got, before)
	}
	l.Close()

	other := opts
	other.Gateway = "gw-0099"
	for start := range 2 {
		l = openLedger(t, path, other)
		got := stats(t, l)
		records := openings(t, l)
		if got.Ledger == before.Ledger || len(records) != int(before.End)-6+1 {
			t.Fatalf("start %d: got ledger %s with %d records, want a new one with %d", start, got.Ledger, len(records), before.End-5)
		}
		if first := records[0]; first.Type != "LedgerOpened" || first.Why != "renamed" || first.Gateway != "gw-0099" || first.Before != before.Ledger {
			t.Errorf("start %d: got %+v first, want it to name both", start, first)
		}
		for i, r := range records[1:] {
			if r.Carried.Ledger != before.Ledger || r.Carried.Seq != uint64(7+i) || r.Ledger != got.Ledger {
				t.Errorf("start %d: got %+v, want record %d of the ledger before", start, r, 7+i)
			}
		}
		if l.Recovered() != "" {
			t.Errorf("start %d: got %s, want nothing put aside", start, l.Recovered())
		}
		l.Close()
	}
}

// testdata/ledger-1.db was written by the program that had schema version 1: ten
// commits of gw-0042, of which a broker has taken eight.
func TestLedgerOfAnEarlierVersionGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	write(t, path, read(t, "testdata/ledger-1.db"))
	l := openLedger(t, path, opts)
	s := stats(t, l)
	if l.Recovered() != "" || s.End != 11 || s.Taken != 8 {
		t.Fatalf("got %q, %+v, want it migrated with 11 records, 8 taken", l.Recovered(), s)
	}
	commit(t, l, 1)
	if got := stats(t, l); got.Ledger != s.Ledger || got.End != 12 {
		t.Errorf("got %+v, want the same ledger to go on", got)
	}
	l.Close()
	fresh := filepath.Join(t.TempDir(), "fresh.db")
	openLedger(t, fresh, opts).Close()
	if got, want := columns(t, path), columns(t, fresh); got != want {
		t.Errorf("got tables\n%s\nafter the migration, want those of a new file\n%s", got, want)
	}
	other := opts
	other.Gateway = "gw-0099"
	if got := stats(t, openLedger(t, path, other)); got.Ledger == s.Ledger {
		t.Error("got the ledger of the gateway before, want a new one: the migration knows whose it was")
	}
}
