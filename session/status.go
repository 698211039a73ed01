package session

import (
	"cmp"
	"time"
)

// MeterUnread is the MeterFault of a meter that has not been asked yet.
const MeterUnread = "not read yet"

// StationStatus is a station as people and the backend may see it. It names no
// badge: what is open is told by its transactionId.
type StationStatus struct {
	ID            string          `json:"id"`
	Kind          Service         `json:"kind"`
	Reader        string          `json:"reader"`
	Status        ConnectorStatus `json:"status"`
	Phase         Phase           `json:"phase"`
	Relay         bool            `json:"relay"`
	Disabled      bool            `json:"disabled,omitempty"`
	Fault         string          `json:"fault,omitempty"`      // what is wrong with the relay
	MeterFault    string          `json:"meterFault,omitempty"` // why the meter is not read, or MeterUnread
	Recovering    bool            `json:"recovering,omitempty"`
	TransactionID string          `json:"transactionId,omitempty"`
	Account       string          `json:"account,omitempty"`
	Energy        int64           `json:"energy"`  // Wh of the open session
	Seconds       int64           `json:"seconds"` // age of the open session
	Review        []Review        `json:"review,omitempty"`
	Metered       bool            `json:"metered"`         // Register has been read
	Register      MilliWattHours  `json:"register"`        // mWh
	Unattributed  MilliWattHours  `json:"unattributed"`    // mWh outside sessions
	Power         int64           `json:"power,omitempty"` // W, where the meter knows
	Plugged       bool            `json:"plugged,omitempty"`
}

// Status describes the stations in the order of the config.
func (m *Machine) Status(s State, up time.Duration) []StationStatus {
	var all []StationStatus
	for _, c := range m.cfg.Stations {
		st := s.stations[c.ID]
		if st == nil {
			st = &station{}
		}
		all = append(all, st.describe(c, up))
	}
	return all
}

func (s *station) describe(c StationConfig, up time.Duration) StationStatus {
	d := StationStatus{
		ID: c.ID, Kind: c.Kind, Reader: c.Reader, Phase: s.phase(c), Relay: s.relay(), Disabled: s.Disabled,
		Fault: s.broken, Metered: s.Known, Register: s.Register, Unattributed: s.Unattributed,
		Power: int64(s.meter.power), Plugged: s.plugged > 0,
	}
	if c.Meter && !s.meter.alive {
		d.MeterFault = cmp.Or(s.meter.silent, MeterUnread)
	}
	switch d.Phase {
	case PhaseAvailable:
		d.Status = Available
	case PhaseUnavailable:
		d.Status = Unavailable
	case PhaseFaulted:
		d.Status = Faulted
	default:
		d.Status = Occupied
	}
	if t := s.Session; t != nil {
		d.TransactionID, d.Account, d.Review = t.ID, t.Account, t.Review
		d.Energy = t.Now.WattHours() - t.Start.WattHours()
		d.Seconds, d.Recovering = int64(t.age(up)/time.Second), t.Recovery != nil
	}
	return d
}
