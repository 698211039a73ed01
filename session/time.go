package session

import (
	"encoding/json"
	"time"
)

// ClockQuality tells how far a wall clock can be trusted.
type ClockQuality string

// Synced: set from a network in this boot. Estimated: carried over an outage or
// taken from the last known good time. Unknown: it may say anything.
const (
	ClockSynced    ClockQuality = "synced"
	ClockEstimated ClockQuality = "estimated"
	ClockUnknown   ClockQuality = "unknown"
)

// Stamp is the time of an event as the board knows it. Durations are
// differences of Up within one boot; Wall is never used for them.
type Stamp struct {
	BootID string        // of the kernel, random for each boot
	Up     time.Duration // CLOCK_BOOTTIME, since that boot
	Wall   time.Time     // what the clock said
	Clock  ClockQuality
}

// Agrees tells whether one clock that nobody has set in between can have told both
// times of a boot. It may be a second off, and drift by the 500 parts per million
// that are the most the kernel slews.
func (s Stamp) Agrees(o Stamp) bool {
	passed := s.Up - o.Up
	return (s.Wall.Sub(o.Wall) - passed).Abs() <= time.Second+passed.Abs()/2000
}

type stampJSON struct {
	BootID string       `json:"bootId"`
	BootUs int64        `json:"bootUs"`
	Wall   string       `json:"wall"`
	Clock  ClockQuality `json:"clock"`
}

// wallFormat keeps milliseconds, always in UTC.
const wallFormat = "2006-01-02T15:04:05.000Z"

// MarshalJSON writes {"bootId", "bootUs" (microseconds), "wall" (UTC, RFC 3339), "clock"}.
func (s Stamp) MarshalJSON() ([]byte, error) {
	wall := s.Wall.UTC()
	if wall.Year() < 0 || wall.Year() > 9999 { // RFC 3339 ends here, a broken clock does not
		wall = time.Time{}
	}
	return json.Marshal(stampJSON{s.BootID, s.Up.Microseconds(), wall.Format(wallFormat), s.Clock})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Stamp) UnmarshalJSON(b []byte) error {
	var j stampJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	wall, err := time.Parse(wallFormat, j.Wall)
	*s = Stamp{j.BootID, time.Duration(j.BootUs) * time.Microsecond, wall, j.Clock}
	return err
}
