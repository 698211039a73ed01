package reader_test

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"badged/mifare"
	"badged/mifare/mifaretest"
	"badged/reader"
	"badged/reader/readertest"
)

// rig is a driver on an emulated chip, and what it told.
type rig struct {
	*testing.T
	chip *readertest.Chip
	dev  *reader.Dev
	told []told
	// faulty is set when what happens may break the data sheet's rules.
	faulty bool
}

type told struct {
	at    time.Duration
	event reader.Event
}

func newRig(t *testing.T, o readertest.Opts, change func(*reader.Opts)) *rig {
	t.Helper()
	chip := readertest.New(o)
	opts := reader.Opts{Clock: chip}
	if change != nil {
		change(&opts)
	}
	dev, err := reader.New(chip.Port(), opts)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, chip: chip, dev: dev}
	t.Cleanup(r.strict)
	return r
}

// strict checks that the driver did nothing that the data sheet forbids.
func (r *rig) strict() {
	if v := r.chip.Violations(); len(v) > 0 && !r.faulty {
		r.Errorf("got violations of the data sheet %v, want none", v)
	}
}

// inject spoils something.
func (r *rig) inject(f readertest.Fault) {
	r.faulty = true
	r.chip.Inject(f)
}

// run lets the driver run for d of the chip's time.
func (r *rig) run(d time.Duration) {
	r.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.chip.At(r.chip.Now()+d, cancel)
	err := r.dev.Run(ctx, func(e reader.Event) { r.told = append(r.told, told{r.chip.Now(), e}) })
	if err != nil {
		r.Fatalf("got %v from Run, want nil", err)
	}
}

// card returns a card of a kind and puts it into the field.
func (r *rig) card(kind string) *mifaretest.Card {
	r.Helper()
	s, err := mifaretest.Lookup(kind)
	if err != nil {
		r.Fatal(err)
	}
	c := mifaretest.New(s)
	r.chip.Put(c)
	return c
}

// plain puts a Classic 1K with the UID uid into the field.
func (r *rig) plain(uid string) *mifaretest.Card {
	r.Helper()
	c := plainCard(r.T, uid)
	r.chip.Put(c)
	return c
}

func plainCard(t testing.TB, uid string) *mifaretest.Card {
	t.Helper()
	u, err := mifare.ParseUID(uid)
	if err != nil {
		t.Fatal(err)
	}
	atqa := map[int]byte{4: 0x04, 7: 0x44, 10: 0x84}[u.Len()]
	return mifaretest.New(mifaretest.Spec{UID: u, ATQA: []byte{atqa, 0}, SAK: 0x08})
}

// taps lists the UIDs of all cards that tapped, in order.
func (r *rig) taps() (uids []string) {
	for _, e := range r.told {
		if tap, ok := e.event.(reader.Tap); ok {
			uids = append(uids, names(tap.New)...)
		}
	}
	return uids
}

// removed lists the UIDs of all cards that left.
func (r *rig) removed() (uids []string) {
	for _, e := range r.told {
		if gone, ok := e.event.(reader.Removed); ok {
			uids = append(uids, gone.Card.UID.String())
		}
	}
	return uids
}

// when is the time of the first event of type E since from, or -1.
func when[E reader.Event](r *rig, from time.Duration) time.Duration {
	for _, e := range r.told {
		if _, ok := e.event.(E); ok && e.at >= from {
			return e.at
		}
	}
	return -1
}

func names(cards []mifare.Card) (uids []string) {
	for _, c := range cards {
		uids = append(uids, c.UID.String())
	}
	return uids
}

// wantTaps checks the taps, in any order.
func (r *rig) wantTaps(want ...string) {
	r.Helper()
	got := r.taps()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.Errorf("got taps %v, want %v; told %+v; health %+v", got, want, r.told, r.dev.Health())
	}
}

// wantRemoved checks the removals, in any order.
func (r *rig) wantRemoved(want ...string) {
	r.Helper()
	got := r.removed()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.Errorf("got removals %v, want %v", got, want)
	}
}

// scan is Scan, of which nothing may go wrong.
func (r *rig) scan() []mifare.Card {
	r.Helper()
	cards, err := r.dev.Scan()
	if err != nil {
		r.Fatalf("got %v from Scan, want nil", err)
	}
	return cards
}

func hexUID(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }
