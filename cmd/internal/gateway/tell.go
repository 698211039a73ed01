package gateway

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sys/unix"

	"badged/cmd/internal/control"
	"badged/session"
	"badged/station"
	"badged/uplink"
)

// decided hears every decision of the controller.
func (g *gateway) decided(d session.Decision) {
	e := control.Event{At: time.Now(), Kind: "decision", Reader: d.Reader, UID: d.UID.Masked()}
	for _, r := range g.readers {
		if r.cfg.Name == d.Reader {
			e = r.decision(d)
		}
	}
	e.Status, e.Reason, e.Station, e.TransactionID = string(d.Status), string(d.Reason), d.Station, d.TransactionID
	cue, _ := station.Lookup(signalOf(d, g.cfg.Language))
	e.Text = cue.Text
	g.hub.Publish(e)
	g.noteStorage(d)
}

// noteStorage says in the status what a resident was told at the reader.
func (g *gateway) noteStorage(d session.Decision) {
	switch {
	case d.Reason == session.StorageFull:
		var disk unix.Statfs_t
		room := "unknown room"
		if unix.Statfs(g.cfg.State, &disk) == nil {
			room = fmt.Sprintf("%d KiB free", disk.Bavail*uint64(disk.Bsize)>>10)
		}
		g.faults.set("storage", fmt.Sprintf("no room for new sessions, %s at %s: make room there; running sessions end all the same", room, g.cfg.State))
	case d.Reason == session.StorageFault:
		g.faults.set("storage", "a session could not be written to "+g.cfg.State+": see the log, the disk may be failing")
	case d.Action == session.ActionStart:
		g.faults.set("storage", "")
	}
}

// signalOf is what the panel says of a decision, for those who watch. An order
// that is no tap says nothing.
func signalOf(d session.Decision, language string) session.Signal {
	s := session.Signal{Reason: d.Reason, Reader: d.Reader, Station: d.Station, Language: language, Energy: d.Energy}
	s.Name = map[session.Action]session.SignalName{
		session.ActionStart: session.SignalStarted, session.ActionStop: session.SignalEnded,
		session.ActionSelect: session.SignalSelected, session.ActionTest: session.SignalTest,
	}[d.Action]
	if s.Name == "" && d.Reason != "" {
		s.Name = session.SignalRefused
	}
	return s
}

// stationsChanged has the status published when a station is another than it
// was, not whenever it has used a little more energy.
func (g *gateway) stationsChanged() {
	var now strings.Builder
	for _, s := range g.ctl.Status() {
		fmt.Fprintln(&now, s.ID, s.Phase, s.Relay, s.Disabled, s.Fault, s.MeterFault != "", s.Recovering, s.TransactionID, s.Review, s.Plugged)
	}
	if now.String() != g.stations {
		g.stations = now.String()
		g.up.StatusChanged()
	}
}

func (g *gateway) uplinkOpts(keys, roots jose.JSONWebKeySet, commands uplink.Commands) uplink.Opts {
	b := g.cfg.Broker
	return uplink.Opts{
		Gateway:  g.cfg.ID,
		Broker:   brokerOf(g.cfg, g.clock.Now),
		RetryMin: b.RetryMin, RetryMax: b.RetryMax,
		List: g.cfg.List.Name, Keys: keys, Roots: roots,
		Store: g.list, Ratchet: g.ledger, KeyStore: g.ledger, Outbox: g.ledger,
		Status: func() any { return g.status() }, OnList: g.listEvent, OnAck: g.ackRefused, OnFault: g.brokerFault, Log: g.log,
		Commands: commands,
	}
}

// listChange is the body of ListChange telemetry.
type listChange struct {
	Kind    string `json:"kind"`
	Epoch   uint64 `json:"epoch"`
	Version uint64 `json:"version"`
	Count   int    `json:"count"`
	Text    string `json:"text"`
}

// listEvent hears what happens to the list.
func (g *gateway) listEvent(e uplink.ListEvent) {
	text := fmt.Sprintf("%s: version %d.%d, %d badges", e.Kind, e.List.Epoch, e.List.Version, e.List.Count)
	log := g.log.Info
	if e.Reason != nil {
		text, log = e.Kind+": "+e.Reason.Error(), g.log.Warn
	}
	log("list "+e.Kind, "epoch", e.List.Epoch, "version", e.List.Version, "count", e.List.Count, "reason", e.Reason)
	g.hub.Publish(control.Event{At: time.Now(), Kind: "list", Text: text})
	g.ctl.Report("ListChange", listChange{e.Kind, e.List.Epoch, e.List.Version, e.List.Count, text})
	switch e.Kind {
	case uplink.ListApplied:
		g.headAt.Store(int64(g.clock.up()))
		g.faults.set("list file", "")
		g.ctl.ListChanged()
	case uplink.ListRefreshed:
		g.headAt.Store(int64(g.clock.up()))
	}
}

// fault is the body of a Fault in telemetry that is no reader's.
type fault struct {
	Part  string `json:"part"`  // "ledger", "broker"
	Fault string `json:"fault"` // what is wrong
	Error string `json:"error"`
}

func (g *gateway) ackRefused(err error) {
	g.hub.Publish(control.Event{At: time.Now(), Kind: "ledger", Text: "acknowledgement refused: " + err.Error()})
	g.ctl.Report("Fault", fault{"ledger", "ack refused", err.Error()})
}

// brokerFault hears what a person should see to; the status has it as long as it lasts.
func (g *gateway) brokerFault(text string) {
	if text != "" {
		g.hub.Publish(control.Event{At: time.Now(), Kind: "broker", Text: text})
		g.ctl.Report("Fault", fault{"broker", "attention", text})
	}
}

// status is what the gateway says of itself.
func (g *gateway) status() control.Status {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	up := g.up.State()
	s := control.Status{
		Gateway: g.cfg.ID, Version: g.cfg.Version, Started: g.started, Clock: g.clock.Stamp(),
		Broker: control.BrokerStatus{
			URL: g.cfg.Broker.URL.String(), Connected: up.Connected, Since: up.Since, Attempts: up.Attempts, Error: up.Err,
		},
		Nonce:  up.Nonce,
		List:   control.ListStatus{State: up.List.State, Keys: up.List.Keys, Refused: up.List.Refused, Error: up.List.Last},
		Ledger: control.LedgerStatus{Refused: up.Acks.Refused, Error: up.Acks.Last},
		Faults: g.faults.all(),
		Board:  g.provision.Board,
	}
	if g.provision.Outcome.Bad() {
		s.Faults = append(s.Faults, "provisioning: "+g.provision.Text)
	}
	if up.Fault != "" {
		s.Faults = append(s.Faults, "broker: "+up.Fault)
	}
	s.List.List = g.cfg.List.Name
	var err error
	if s.Ledger.Outbox, err = g.ledger.Outbox(ctx); err != nil {
		s.Faults = append(s.Faults, "ledger: "+err.Error())
	}
	v, err := g.list.InForce(ctx)
	if err != nil {
		s.Faults = append(s.Faults, "list: "+err.Error())
	} else if v.List != "" {
		s.List.ListVersion = v
		s.Faults = append(s.Faults, g.staleList(v, s.Clock)...)
	}
	for _, r := range g.readers {
		s.Readers = append(s.Readers, r.status())
	}
	s.Stations = g.ctl.Status()
	return s
}

// door is the gateway as the local door sees it.
type door struct{ *gateway }

// Status is the same as the retained message on the status topic.
func (d door) Status() any { return d.status() }

// Sessions lists the stations with an open session.
func (d door) Sessions() any {
	open := []session.StationStatus{}
	for _, s := range d.status().Stations {
		if s.TransactionID != "" {
			open = append(open, s)
		}
	}
	return open
}

// EnableStation takes a station out of service, or back.
func (d door) EnableStation(ctx context.Context, station string, on bool) error {
	name := session.CommandDisable
	if on {
		name = session.CommandEnable
	}
	answer, err := d.ctl.Command(ctx, name, station, "")
	if err == nil && answer.Reason == session.NoStation {
		err = fmt.Errorf("no station %q at this gateway", station)
	}
	return err
}

// TestRelay has a relay close for two seconds.
func (d door) TestRelay(ctx context.Context, station string) error {
	answer, err := d.ctl.Command(ctx, session.CommandTest, station, "")
	switch {
	case err != nil:
		return err
	case answer.Reason == session.NoStation:
		return fmt.Errorf("no station %q at this gateway", station)
	case answer.Reason != "":
		return fmt.Errorf("the relay of %s stays as it is: %s", station, answer.Reason)
	}
	return nil
}

// Blink makes the panel show where this gateway is.
func (d door) Blink(context.Context) error {
	d.blink()
	return nil
}

func (g *gateway) blink() { g.panel.Show(session.Signal{Name: session.SignalBlink}) }

// Enrol waits for a badge to be registered.
func (d door) Enrol(ctx context.Context) (control.Enrolment, error) { return d.enrol(ctx) }
