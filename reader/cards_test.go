package reader_test

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"badged/mifare"
	"badged/reader"
	"badged/reader/readertest"
)

func TestScanReadsWhatACardSays(t *testing.T) {
	for _, c := range []struct{ kind, uid, atqa, saks, ats, notes string }{
		{"classic-1k", "9C599B32", "0400", "08", "", ""},
		{"classic-ev1", "044494C0228B80", "4400", "0408", "", ""},
		{"triple-size", "0411223344556677AA80", "8400", "040408", "", ""},
		{"ntag21x", "04E7C36997FE79", "4400", "0400", "", ""},
		{"smartmx-classic", "5D97B4F5", "0400", "28", "1078809002209000000000005D97B4F5", ""},
		{"desfire-ev2", "0498290CC1FB80", "4403", "0420", "067577810280", ""},
		{"plus-sl1", "F35201C7", "0400", "08", "", ""},
		{"ct-complete", "88123456", "0400", "08", "", "CT"},
		{"cascade-without-ct", "12345678", "0400", "04", "", "CT"},
		{"endless-cascade", "0411223344556677AA81", "8400", "040404", "", "CT"},
		{"bad-ats", "04E9E7F42B4980", "4400", "0420", "", "BadATS"},
		{"silent-ats", "51215B0F", "4403", "20", "", "SilentRATS"},
	} {
		t.Run(c.kind, func(t *testing.T) {
			r := newRig(t, readertest.Opts{}, nil)
			r.card(c.kind)
			cards := r.scan()
			if len(cards) != 1 {
				t.Fatalf("got %d cards, want 1", len(cards))
			}
			got := cards[0]
			want := fmt.Sprint(c.uid, " ", c.atqa, " ", c.saks, " ", strings.ToLower(c.ats), " ", c.notes)
			if s := describe(got); s != want {
				t.Errorf("got %s, want %s", s, want)
			}
		})
	}
}

func describe(c mifare.Card) string {
	var saks []byte
	for _, s := range c.SAKs {
		saks = append(saks, byte(s))
	}
	var notes []string
	for _, n := range c.Notes {
		notes = append(notes, string(n))
	}
	return fmt.Sprint(c.UID, " ", hex.EncodeToString(c.ATQA[:]), " ", hex.EncodeToString(saks), " ",
		hex.EncodeToString(c.ATS), " ", strings.Join(notes, ","))
}

func TestScanAsksDESFireForItsVersion(t *testing.T) {
	for kind, want := range map[string]string{"desfire-ev1": "0401", "desfire-ev3": "0401", "ntag4xx": "0404"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, readertest.Opts{}, nil)
			r.card(kind)
			for range 2 { // the question does not spoil the next read
				c := r.scan()
				if len(c) != 1 || len(c[0].Version) != 28 || !strings.HasPrefix(hex.EncodeToString(c[0].Version), want) {
					t.Fatalf("got %+v, want one card with 28 bytes of version from %s", c, want)
				}
			}
		})
	}
}

func TestPlusATSIsAskedForOnDemand(t *testing.T) {
	r := newRig(t, readertest.Opts{}, func(o *reader.Opts) { o.PlusATS = true })
	r.card("plus-sl1")
	r.plain("11223344")
	cards := r.scan()
	slices.SortFunc(cards, func(a, b mifare.Card) int { return strings.Compare(a.UID.String(), b.UID.String()) })
	if len(cards) != 2 || len(cards[0].ATS) != 0 || len(cards[1].ATS) != 12 {
		t.Errorf("got %+v, want a Classic without and a Plus with ATS", cards)
	}
}

func TestScanFindsEverySet(t *testing.T) {
	rounds := 80
	if testing.Short() {
		rounds = 20
	}
	for _, absolute := range []bool{false, true} {
		t.Run(fmt.Sprintf("CollPos absolute %t", absolute), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, 2))
			for range rounds {
				r := newRig(t, readertest.Opts{AbsoluteCollPos: absolute}, nil)
				want := r.randomSet(rnd, 1+rnd.IntN(8))
				cards, err := r.dev.Scan()
				got := names(cards)
				slices.Sort(got)
				if err != nil || !slices.Equal(got, want) {
					t.Fatalf("got %v, %v, want %v", got, err, want)
				}
				if r.strict(); t.Failed() {
					return
				}
			}
		})
	}
}

// randomSet puts n different cards with UIDs that often share their beginning
// into the field and returns their UIDs, sorted.
func (r *rig) randomSet(rnd *rand.Rand, n int) (uids []string) {
	base := randomUID(rnd, 10)
	for len(uids) < n {
		size := []int{4, 7, 10}[rnd.IntN(3)]
		uid := randomUID(rnd, size)
		if shared := rnd.IntN(2 * size); shared < size {
			copy(uid[:shared], base)
		}
		s := hexUID(uid)
		if !slices.Contains(uids, s) {
			uids = append(uids, s)
			r.plain(s)
		}
	}
	slices.Sort(uids)
	return uids
}

// randomUID returns a UID that is legal: no cascade tag at the start of a level.
func randomUID(rnd *rand.Rand, size int) []byte {
	uid := make([]byte, size)
	for i := range uid {
		if uid[i] = byte(rnd.Uint32()); uid[i] == 0x88 {
			uid[i] = 0x89
		}
	}
	return uid
}

func TestBadCardsGiveNoUID(t *testing.T) {
	for _, kind := range []string{"bad-bcc", "bad-sak-crc"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, readertest.Opts{}, nil)
			r.card(kind)
			if cards, err := r.dev.Scan(); len(cards) != 0 || err == nil {
				t.Errorf("got %v, %v, want no card and an error", cards, err)
			}
			r.plain("04112233")
			r.run(2 * time.Second)
			r.wantTaps("04112233")
		})
	}
}
