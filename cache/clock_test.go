package cache_test

import (
	"encoding/json"
	"testing"
	"time"

	"badged/session"
)

func at(boot string, up time.Duration, wall time.Time, q session.ClockQuality) session.Stamp {
	return session.Stamp{BootID: boot, Up: up, Wall: wall, Clock: q}
}

func TestT8_TimeGetsBetterOnceAClockIsKnown(t *testing.T) {
	var (
		event1970 = func(boot string, up time.Duration) session.Record {
			return session.TransactionEvent{EventType: session.Updated, At: at(boot, up, time.Unix(0, 0).Add(up), session.ClockUnknown)}
		}
		guess = func(boot string, up time.Duration, wall time.Time) session.Record { // a clock that nobody has set
			return session.TransactionEvent{EventType: session.Updated, At: at(boot, up, wall, session.ClockEstimated)}
		}
		sync = func(boot string, up time.Duration, wall time.Time) session.Record {
			return session.ClockAnchor{At: at(boot, up, wall, session.ClockSynced), Why: "first"}
		}
		h = time.Hour
	)
	type want struct{ wall, clock, notBefore, notAfter string }
	for name, c := range map[string]struct {
		records []session.Record
		of      int // which record
		want    want
	}{
		"synchronised later in its boot": {
			[]session.Record{event1970("b", h), sync("b", 2*h, issued)}, 0,
			want{wall: "2026-11-23T04:00:00.000Z", clock: "synced"}},
		"never synchronised": {
			[]session.Record{event1970("b", h)}, 0,
			want{wall: "1970-01-01T01:00:00.000Z", clock: "unknown"}},
		"three boots without a network between two with": {
			[]session.Record{sync("a", h, issued), event1970("b", h), event1970("c", h), event1970("d", h), sync("e", h, issued.Add(24*h))}, 2,
			want{wall: "1970-01-01T01:00:00.000Z", clock: "unknown", notBefore: "2026-11-23T06:00:00.000Z", notAfter: "2026-11-24T04:00:00.000Z"}},
		"an answer from 2040 and back": {
			[]session.Record{sync("b", h, issued.AddDate(14, 0, 0)), event1970("b", h), sync("b", 2*h, issued)}, 1,
			want{wall: "2026-11-23T04:00:00.000Z", clock: "synced"}},
		"recorded while the clock said 2040": {
			[]session.Record{sync("b", h, issued.AddDate(14, 0, 0)),
				session.TransactionEvent{EventType: session.Updated, At: at("b", 2*h, issued.AddDate(14, 0, 0).Add(h), session.ClockSynced)}, sync("b", 3*h, issued)}, 1,
			want{wall: "2026-11-23T04:00:00.000Z", clock: "synced"}},
		"a clock that went back to 2010, and forward": {
			[]session.Record{sync("b", h, issued), sync("b", 2*h, issued.AddDate(-16, 0, 0)), event1970("b", 3*h), sync("b", 4*h, issued.Add(3*h))}, 2,
			want{wall: "2026-11-23T07:00:00.000Z", clock: "synced"}},
		"a wrong RTC, put right later": {
			[]session.Record{guess("b", h, issued.AddDate(3, 0, 0)), sync("b", 2*h, issued)}, 0,
			want{wall: "2026-11-23T04:00:00.000Z", clock: "synced"}},
		"a wrong RTC that nobody put right": {
			[]session.Record{sync("a", h, issued), guess("b", h, issued.AddDate(3, 0, 0)), sync("c", h, issued.Add(24*h))}, 1,
			want{wall: "2029-11-23T05:00:00.000Z", clock: "estimated", notBefore: "2026-11-23T06:00:00.000Z", notAfter: "2026-11-24T04:00:00.000Z"}},
		"bounded by a boot whose first answer was from 2040": {
			[]session.Record{sync("a", h, issued), event1970("b", h), sync("c", h, issued.AddDate(14, 0, 0)), sync("c", 2*h, issued.Add(24*h))}, 1,
			want{wall: "1970-01-01T01:00:00.000Z", clock: "unknown", notBefore: "2026-11-23T06:00:00.000Z", notAfter: "2026-11-24T03:00:00.000Z"}},
		"bounds that exclude each other": {
			[]session.Record{sync("a", h, issued.AddDate(14, 0, 0)), event1970("b", h), sync("c", h, issued)}, 1,
			want{wall: "1970-01-01T01:00:00.000Z", clock: "unknown"}},
		"the nearest of anchors that drift": {
			[]session.Record{sync("b", h, issued), event1970("b", h), sync("b", 25*h, issued.Add(24*h+3*time.Second))}, 1,
			want{wall: "2026-11-23T05:00:00.000Z", clock: "synced"}},
		"leap day": {
			[]session.Record{event1970("b", h), sync("b", 2*h, time.Date(2028, 2, 29, 0, 30, 0, 0, time.UTC))}, 0,
			want{wall: "2028-02-28T23:30:00.000Z", clock: "synced"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			if err := l.Commit(t.Context(), session.Commit{Records: c.records}); err != nil {
				t.Fatal(err)
			}
			var got struct{ Wall, Clock, NotBefore, NotAfter string }
			m := unsent(t, l, 100)[c.of+1]
			if err := json.Unmarshal(m.Time, &got); err != nil || (want{got.Wall, got.Clock, got.NotBefore, got.NotAfter}) != c.want {
				t.Errorf("got %s, want %+v (%v)", m.Time, c.want, err)
			}
		})
	}
}

// T8 for the retention: what counts is when a record was made as far as that is
// known by now, not what the clock said.
func TestT8_PruneByTheTimeThatIsKnown(t *testing.T) {
	h := time.Hour
	old, young := issued, issued.Add(500*24*h)
	event := func(boot string, up time.Duration, wall time.Time, q session.ClockQuality) session.Record {
		return session.TransactionEvent{EventType: session.Updated, At: at(boot, up, wall, q)}
	}
	anchor := func(boot string, up time.Duration, wall time.Time) session.Record {
		return session.ClockAnchor{At: at(boot, up, wall, session.ClockSynced)}
	}
	for name, c := range map[string]struct {
		records []session.Record // after LedgerOpened, which is old
		left    int
	}{
		"old ones go, the last stays":             {[]session.Record{event("a", h, old, session.ClockSynced), event("a", 2*h, old, session.ClockSynced)}, 1},
		"young ones stay":                         {[]session.Record{event("a", h, old, session.ClockSynced), event("c", h, young, session.ClockSynced), event("c", h, young, session.ClockSynced)}, 2},
		"old, though the clock said 2040":         {[]session.Record{event("a", h, old.AddDate(14, 0, 0), session.ClockSynced), anchor("a", 2*h, old), anchor("a", 3*h, old.Add(h))}, 1},
		"young, though the clock said 1970":       {[]session.Record{event("c", h, time.Unix(0, 0), session.ClockUnknown), anchor("c", 2*h, young)}, 2},
		"unknown, but before a boot that was old": {[]session.Record{event("b", h, time.Unix(0, 0), session.ClockUnknown), anchor("c", h, old), anchor("c", 2*h, old.Add(h))}, 1},
		"unknown, and nothing known since":        {[]session.Record{event("b", h, time.Unix(0, 0), session.ClockUnknown), event("b", h, time.Unix(0, 0), session.ClockUnknown)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			if err := l.Commit(t.Context(), session.Commit{Records: c.records}); err != nil {
				t.Fatal(err)
			}
			all := unsent(t, l, 100)
			last := all[len(all)-1]
			if err := l.Acknowledge(t.Context(), last.Ledger, last.Seq, last.Hash); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := l.Prune(t.Context(), young.Add(24*h), 400*24*h); err != nil {
					t.Fatal(err)
				}
			}
			left, err := l.Last(t.Context(), 100)
			if err != nil || len(left) != c.left {
				t.Errorf("got %d records left, want %d (%v)", len(left), c.left, err)
			}
		})
	}
}
