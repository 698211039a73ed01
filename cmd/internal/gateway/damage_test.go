package gateway

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/control"
	"badged/session"
)

// T9 while running: a ledger that is found damaged in mid-session is replaced
// without a restart; the session goes on and ends, and the status says what happened.
func TestT9_DamagedLedgerInASession(t *testing.T) {
	p := listed(t, "boot-0")
	c, h := boot("boot-1", noon)
	p.boot(c)
	p.tapped(session.ActionStart)
	path := filepath.Join(p.cfg.State, "ledger.db")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xA5}, 4096), 4096); err != nil {
		t.Fatal(err)
	}
	h.pass(2 * checkEvery)
	p.eventually("the damage in the status", func(s control.Status) bool {
		return strings.Contains(strings.Join(s.Faults, " "), "ledger replaced: "+path+" was unusable") && s.Stations[0].TransactionID != ""
	})
	h.pass(time.Minute)
	p.tapped(session.ActionStop)
	var ended int
	for _, r := range p.records() {
		if r.EventType == "Ended" {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("got %d ends in the new ledger, want 1", ended)
	}
	if _, err := os.Stat(path + ".damaged-1"); err != nil {
		t.Error(err)
	}
}
