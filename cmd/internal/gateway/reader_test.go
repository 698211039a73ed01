package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cache"
	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/mifare/mifaretest"
	"badged/reader/readertest"
	"badged/session"
)

// until runs the gateway for as long as f takes, and returns the telemetry that
// no broker has taken.
func (h *house) until(f func()) (told string) {
	h.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { h.ends <- Run(ctx, h.cfg, h.hw, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	h.eventually("a reader that works", func(s control.Status) bool { return s.Readers[0].State == "ready" })
	f()
	stop()
	if err := <-h.ends; err != nil {
		h.t.Fatalf("gateway ended: %v", err)
	}
	l, err := cache.OpenLedger(filepath.Join(h.cfg.State, "ledger.db"), cache.LedgerOpts{
		Gateway: h.cfg.ID, Stamp: func() session.Stamp { return session.Stamp{} },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	defer l.Close()
	entries, err := l.NextTelemetry(h.t.Context(), 100)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		told += string(e.Record) + "\n"
	}
	return told
}

func (h *house) inject(kind string, d time.Duration) {
	h.t.Helper()
	f, err := readertest.ParseFault(kind)
	if err != nil {
		h.t.Fatal(err)
	}
	f.For = d
	h.hw.chip.Inject(f)
}

func TestFaultsOfAReaderAreTelemetry(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nowhere)
	told := h.until(func() {
		h.inject("antenna", 0)
		h.eventually("the repair", func(s control.Status) bool {
			r := s.Readers[0]
			return r.State == "ready" && r.Error == "" && r.Health.Faults > 0 && r.Health.LastFault != "" && len(r.Health.Recoveries) > 0
		})
		h.inject("miso00", time.Hour)
		h.eventually("reader lost", func(s control.Status) bool { return s.Readers[0].State == "lost" && s.Readers[0].Error != "" })
		h.hw.chip.Clear()
		h.eventually("reader back", func(s control.Status) bool { return s.Readers[0].State == "ready" && len(s.Faults) == 0 })
	})
	for _, want := range []string{`"fault":"recovered"`, `"step":"`, `"fault":"lost"`, `"error":"mfrc522: wiring: `, `"fault":"back"`, `"downMs":`, `"type":"Fault"`} {
		if !strings.Contains(told, want) {
			t.Errorf("got telemetry\n%swant %s in it", told, want)
		}
	}
}

// hold puts a card of a kind on the reader until release is called.
func (b *bench) hold(t testing.TB, kind string) (release func()) {
	t.Helper()
	spec, err := mifaretest.Lookup(kind)
	if err != nil {
		t.Fatal(err)
	}
	p := mifaretest.New(spec)
	b.chip.Put(p)
	return func() { b.chip.Remove(p) }
}

func TestCardThatCannotBeReadIsRefused(t *testing.T) {
	for _, kind := range []string{"bad-bcc", "bad-sak-crc", "endless-cascade"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nowhere)
			h.start()
			h.watch(func() { h.hw.hold(t, kind) }, func(e control.Event) bool {
				if e.Kind == "decision" && (e.Status != "Invalid" || e.Reason != "Malformed" || e.Text == "") {
					t.Errorf("got %+v, want Invalid, Malformed and a text", e)
				}
				return e.Kind == "decision"
			})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // of polls that all meet it
			defer cancel()
			h.ctl.Watch(ctx, nil, func(e control.Event) error {
				if e.Kind == "decision" {
					t.Errorf("got %+v once more, want one decision", e)
				}
				return nil
			})
		})
	}
}

// reopened counts how often the wires were opened, and closes them under the
// reader, as a device that goes away does.
type reopened struct {
	*bench
	opens int
	chip  Chip
}

func (b *reopened) Chip(r config.Reader) (Chip, error) {
	c, err := b.bench.Chip(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opens++
	b.chip = c
	return c, err
}

func TestWiresThatDieAreOpenedAnew(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nowhere)
	hw := &reopened{bench: h.hw}
	ctx, stop := context.WithCancel(t.Context())
	go func() { h.ends <- Run(ctx, h.cfg, hw, slog.New(slog.DiscardHandler)) }()
	h.eventually("a reader that works", func(s control.Status) bool { return s.Readers[0].State == "ready" })
	hw.mu.Lock()
	hw.chip.Port.Close()
	hw.noChip = errors.New("no such device")
	hw.mu.Unlock()
	h.eventually("reader lost", func(s control.Status) bool {
		return s.Readers[0].State == "lost" && strings.Contains(s.Readers[0].Error, "no such device")
	})
	hw.mu.Lock()
	hw.noChip = nil
	hw.mu.Unlock()
	h.eventually("reader back", func(s control.Status) bool {
		r := s.Readers[0]
		return r.State == "ready" && len(s.Faults) == 0 && r.Health.Recoveries["reopen"] > 0
	})
	stop()
	if err := <-h.ends; err != nil {
		t.Errorf("gateway ended: %v", err)
	}
}
