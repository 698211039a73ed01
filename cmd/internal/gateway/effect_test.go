package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"badged/cmd/internal/control"
	"badged/session"
)

// entry is a row of the publisher's CSV, and what its badge gets at the reader.
type entry struct{ row, status, reason string }

const effectHeader = "uid,status,origin,role,services,stations,validFrom,validUntil,account\n"

// The whole way of a list, from the publisher's CSV over a broker to the tap: what
// each of an entry's fields does at a site of each kind.
func TestWhatAnEntryDoes(t *testing.T) {
	// By uid; they are tapped in this order, and the first that is accepted is the last.
	fields := []entry{
		{"04A1B211,Blocked,,,,,,,r-1", "Blocked", "BlockedBadge"},
		{"04A1B212,Expired,,,,,,,r-1", "Expired", "ExpiredBadge"},
		{"04A1B213,Invalid,,,,,,,r-1", "Invalid", "InvalidBadge"},
		{"04A1B214,,third-party,,,,,,r-1", "Invalid", "ThirdPartyBadge"},
		{"04A1B215,,,,charging,,,,r-1", "NotAllowedTypeEVSE", "WrongService"},
		{"04A1B216,,,,,dryer,,,r-1", "NotAtThisLocation", "NotThisStation"},
		{"04A1B217,,,,,,2099-01-01T00:00:00Z,,r-1", "NotAtThisTime", "NotYetValid"},
		{"04A1B218,,,,,,,2020-01-01T00:00:00Z,r-1", "Expired", "ExpiredBadge"},
		{"04A1B219,,,master,,,,,r-1", "Invalid", "MasterOnlyStops"},
		{"", "Unknown", "UnknownBadge"}, // 04A1B2FF, on no list
		{"04A1B21A,,,,laundry;charging,washer;dryer,2020-01-01T00:00:00Z,2099-01-01T00:00:00Z,r-1", "Accepted", ""},
	}
	for name, tt := range map[string]struct {
		edit    func(c *house)
		clock   time.Time // zero: nobody knows the time
		entries []entry
	}{
		"managed": {func(*house) {}, noon, fields},
		"statements take badges of others": {func(h *house) { h.cfg.Billing = session.Statements }, noon,
			[]entry{{"04A1B214,,third-party,,,,,,r-1", "Accepted", ""}}},
		"a private station takes those that name it": {func(h *house) { h.cfg.Stations[0].Private = true }, noon, []entry{
			{"04A1B21B,,,,,,,,r-1", "NotAtThisLocation", "PrivateStation"}, {"04A1B21C,,,,,washer,,,r-1", "Accepted", ""}}},
		"no clock locks nobody out: early": {func(*house) {}, time.Time{}, []entry{{"04A1B217,,,,,,2099-01-01T00:00:00Z,,r-1", "Accepted", ""}}},
		"no clock locks nobody out: late":  {func(*house) {}, time.Time{}, []entry{{"04A1B218,,,,,,,2020-01-01T00:00:00Z,r-1", "Accepted", ""}}},
		"a technician's test":              {func(*house) {}, noon, []entry{{"04A1B21D,,,service,,,,,", "Accepted", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := mqttBroker(t, new(auth.AllowHook), nil)
			h := newHouse(t, broker)
			tt.edit(h)
			clk, _ := boot("boot-1", tt.clock)
			h.startBy(clk)
			csv := effectHeader
			for _, e := range tt.entries {
				if e.row != "" {
					csv += e.row + "\n"
				}
			}
			h.push(broker, csv)
			h.eventually("the list", func(s control.Status) bool { return s.List.Version == 1 })
			for _, e := range tt.entries {
				uid, _, ok := strings.Cut(e.row, ",")
				if !ok {
					uid = "04A1B2FF"
				}
				_, moves := h.hw.relay()
				got := h.decide(uid)
				if got.Status != e.status || got.Reason != e.reason {
					t.Errorf("%s %s: got %s %s, want %s %s", uid, e.row, got.Status, got.Reason, e.status, e.reason)
				}
				if _, now := h.hw.relay(); (now > moves) != (e.status == "Accepted") {
					t.Errorf("%s: the relay moved %d times, want it to close for an accepted badge alone", uid, now-moves)
				}
			}
		})
	}
}

// A badge that is blocked, or taken off the list, while its session runs.
func TestWhatADeltaDoesToARunningSession(t *testing.T) {
	const others = "04A1B2FF,,,,,,,,r-2\n"
	for _, kind := range []session.Service{session.Laundry, session.Charging} {
		for name, tt := range map[string]struct {
			then string // the CSV after the start
			ends bool   // charging; a washing cycle runs out
			told bool
		}{
			"blocked":     {"04A1B211,Blocked,,,,,,,r-1\n" + others, true, true},
			"removed":     {others, true, true},
			"expired":     {"04A1B211,Expired,,,,,,,r-1\n" + others, false, false},
			"not for us":  {"04A1B211,,,,,elsewhere,,,r-1\n" + others, false, false},
			"other badge": {"04A1B211,,,,,,,,r-1\n04A1B2FF,Blocked,,,,,,,r-2\n", false, false},
		} {
			t.Run(fmt.Sprint(kind, " ", name), func(t *testing.T) {
				t.Parallel()
				broker := mqttBroker(t, new(auth.AllowHook), nil)
				h := newHouse(t, broker)
				h.cfg.Stations[0].Kind = kind
				h.start()
				h.push(broker, effectHeader+"04A1B211,,,,,,,,r-1\n"+others)
				h.eventually("the list", func(s control.Status) bool { return s.List.Version == 1 })
				if got := h.decide("04A1B211"); got.Status != "Accepted" {
					t.Fatalf("got %+v, want a start", got)
				}
				h.push(broker, effectHeader+tt.then)
				h.eventually("the delta", func(s control.Status) bool { return s.List.Version == 2 })
				ends := tt.ends && kind == session.Charging
				if ends {
					h.eventually("the end", func(s control.Status) bool { return s.Stations[0].TransactionID == "" })
				}
				told := func() bool { return slices.Contains(h.triggers(), "Deauthorized") }
				for end := time.Now().Add(20 * time.Second); tt.told && !told() && time.Now().Before(end); {
					time.Sleep(10 * time.Millisecond)
				}
				if !tt.told {
					time.Sleep(300 * time.Millisecond) // for what must not happen
				}
				if on, _ := h.hw.relay(); on == ends || told() != tt.told {
					t.Errorf("got relay %t, triggers %q, want it on: %t, Deauthorized: %t", on, h.triggers(), !ends, tt.told)
				}
			})
		}
	}
}

// triggers are those of the ledger's TransactionEvents.
func (h *house) triggers() (out []string) {
	h.t.Helper()
	var records []struct{ Record session.TransactionEvent }
	if err := h.ctl.Get(h.t.Context(), "/v1/records", &records); err != nil {
		h.t.Fatal(err)
	}
	for _, r := range records {
		if r.Record.TransactionID != "" {
			out = append(out, string(r.Record.TriggerReason))
		}
	}
	return out
}
