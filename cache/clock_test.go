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

func TestTimeGetsBetterOnceAClockIsKnown(t *testing.T) {
	var (
		event1970 = func(boot string, up time.Duration) session.Record {
			return session.TransactionEvent{EventType: session.Updated, At: at(boot, up, time.Unix(0, 0).Add(up), session.ClockUnknown)}
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
