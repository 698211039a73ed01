package gateway

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cache"
	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/cmd/internal/provision"
	"badged/session"
)

func TestDoctorJudgesStations(t *testing.T) {
	s0 := config.Station{Relay: "GPIO17", Meter: config.Meter{Type: "s0", Pin: "GPIO27", PulsesPerKWh: 1000}}
	bus := config.Station{Relay: "GPIO17", Meter: config.Meter{Type: "modbus-rtu", Address: "/dev/ttyUSB0", Baud: 9600, Parity: "none", Unit: 3}}
	net := config.Station{Relay: "GPIO17", Meter: config.Meter{Type: "modbus-tcp", Address: "192.0.2.7:502", Unit: 3}}
	none := config.Station{Relay: "GPIO17", Meter: config.Meter{Type: "none"}}
	none.RunTime = time.Hour
	for name, c := range map[string]struct {
		cfg   config.Station
		now   session.StationStatus
		what  string
		state control.CheckState
		part  string
	}{
		"well":             {s0, session.StationStatus{Metered: true, Register: 1_500_000}, "relay", control.CheckOK, "open, on GPIO17"},
		"broken relay":     {s0, session.StationStatus{Fault: "request line GPIO17: busy"}, "relay", control.CheckFail, "busy; correct station.relay, now GPIO17"},
		"out of service":   {s0, session.StationStatus{ID: "w", Disabled: true}, "relay", control.CheckWarn, "badgectl station w enable"},
		"counts":           {s0, session.StationStatus{Metered: true, Register: 1_500_000}, "meter", control.CheckOK, "1.500 kWh"},
		"never a pulse":    {s0, session.StationStatus{Metered: true}, "meter", control.CheckWarn, "1 kW is a pulse every 3.6s; if none comes, swap + and -"},
		"no meter answers": {bus, session.StationStatus{MeterFault: "does not answer"}, "meter", control.CheckFail, "A and B at /dev/ttyUSB0"},
		"no net meter":     {net, session.StationStatus{MeterFault: "does not answer"}, "meter", control.CheckFail, "does not answer; check that ping 192.0.2.7 gets an answer"},
		"dead pulses":      {s0, session.StationStatus{MeterFault: "does not answer"}, "meter", control.CheckFail, "correct station.meter.pin, now GPIO27"},
		"not read yet":     {bus, session.StationStatus{MeterFault: session.MeterUnread}, "meter", control.CheckWarn, "ask again"},
		"read":             {bus, session.StationStatus{Metered: true, Register: 1, Power: 12}, "meter", control.CheckOK, "12 W"},
		"without a meter":  {none, session.StationStatus{}, "meter", control.CheckOK, "1h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, got := range examineStations(config.Config{Stations: []config.Station{c.cfg}}, []session.StationStatus{c.now}) {
				if strings.HasSuffix(got.Name, ": "+c.what) {
					wantCheck(t, got, c.state, c.part)
				}
			}
		})
	}
}

func TestDoctorJudgesTheClock(t *testing.T) {
	at := session.Stamp{Wall: noon, Clock: session.ClockSynced}
	wantCheck(t, checkClock(at, "timesyncd"), control.CheckOK, "set by timesyncd")
	at.Clock = session.ClockEstimated
	wantCheck(t, checkClock(at, ""), control.CheckWarn, "timedatectl")
	at.Clock = session.ClockUnknown
	wantCheck(t, checkClock(at, ""), control.CheckWarn, "not set")
}

func TestDoctorJudgesWhatComesAndGoes(t *testing.T) {
	day := 24 * time.Hour
	synced := session.Stamp{Wall: noon, Clock: session.ClockSynced}
	list := control.ListStatus{ListVersion: session.ListVersion{List: "l-1", Epoch: 1, Version: 7, Count: 3, IssuedAt: noon.Add(-day)}, State: "current"}
	old, half, refused, unset := list, list, list, control.ListStatus{ListVersion: session.ListVersion{List: "l-1"}}
	old.IssuedAt = noon.Add(-40 * day)
	half.State = "incomplete"
	refused.Refused, refused.Error = 3, "signed by nobody we know"
	over, locked, unkept := list, unset, half
	unkept.Error = "attempt to write a readonly database"
	over.Refused = 3
	locked.Refused, locked.Error = 1, "signed by nobody we know"
	h := newHouse(t, nowhere)
	c := h.cfg
	byBroker := c
	byBroker.Broker.AckByBroker = true
	for name, tt := range map[string]struct {
		got   control.Check
		state control.CheckState
		part  string
	}{
		"broker there":        {checkBroker(control.BrokerStatus{URL: "tls://b", Connected: true, Since: noon}), control.CheckOK, "connected since"},
		"broker away":         {checkBroker(control.BrokerStatus{URL: "tls://b", Attempts: 4, Error: "refused"}), control.CheckFail, "after 4 attempts: refused; ask the broker's operator"},
		"broker not tried":    {checkBroker(control.BrokerStatus{URL: "tls://b"}), control.CheckWarn, "ask again"},
		"list in force":       {checkList(c, list, true, synced), control.CheckOK, "version 1.7, 3 badges"},
		"list too old":        {checkList(c, old, true, synced), control.CheckWarn, "40 days ago, more than list.max_age; ask the office whether badgectl list watch runs"},
		"list half here":      {checkList(c, half, true, synced), control.CheckWarn, "does not come whole"},
		"list not kept":       {checkList(c, unkept, true, synced), control.CheckWarn, "does not come whole: attempt to write a readonly database; if it is about a file, see disk"},
		"list of others":      {checkList(c, refused, true, synced), control.CheckWarn, "signed by nobody we know; tell the office these words; if a key"},
		"refused before":      {checkList(c, over, true, synced), control.CheckOK, "version 1.7, 3 badges"},
		"no list of ours":     {checkList(c, locked, true, synced), control.CheckFail, "not taken: signed by nobody we know; tell the office these words"},
		"no list":             {checkList(c, unset, true, synced), control.CheckFail, "ask the office to push it; there: badgectl list show --list l-1"},
		"no list, no broker":  {checkList(c, unset, false, synced), control.CheckFail, "see to the broker first"},
		"old, no broker":      {checkList(c, old, false, synced), control.CheckWarn, "40 days ago, more than list.max_age; see to the broker first"},
		"broker says why":     {checkBroker(control.BrokerStatus{Attempts: 1, Error: "connect: refused\nhint: check the port"}), control.CheckFail, "refused; check the port"},
		"all acknowledged":    {checkLedger(c, session.Outbox{End: 9, Committed: 9}), control.CheckOK, "9 records, 0 not"},
		"much unacknowledged": {checkLedger(c, session.Outbox{End: 5000, Committed: 9}), control.CheckWarn, "4991 not acknowledged by the backend; ask the office whether its backend runs"},
		"broker's word":       {checkLedger(byBroker, session.Outbox{End: 9, Committed: 9}), control.CheckOK, "whose word counts"},
	} {
		t.Run(name, func(t *testing.T) { wantCheck(t, tt.got, tt.state, tt.part) })
	}
	wantCheck(t, checkProvisioning(provision.State{}, false), control.CheckOK, "by hand")
	wantCheck(t, checkProvisioning(provision.State{Outcome: provision.Installed, Text: "gw-0042 installed"}, false), control.CheckOK, "gw-0042 installed")
	wantCheck(t, checkProvisioning(provision.State{Outcome: provision.Installed}, true), control.CheckWarn, "on trial; see that it connects")
	wantCheck(t, checkProvisioning(provision.State{Outcome: provision.FellBack, Text: "it could not connect"}, false), control.CheckFail, "it could not connect; docs/provisioning.md")
	wantCheck(t, checkKnownFaults(nil)[0], control.CheckOK, "none")
	wantCheck(t, checkKnownFaults([]string{"storage: full"})[0], control.CheckFail, "storage: full")
}

func TestDoctorAsksForTheLastTap(t *testing.T) {
	g := &gateway{started: time.Now()}
	wantCheck(t, g.checkTaps(), control.CheckOK, "none since the start")
	g.started = time.Now().Add(-8 * 24 * time.Hour)
	wantCheck(t, g.checkTaps(), control.CheckWarn, "tap a badge at every reader")
	g.tapped.Store(int64(uptime()))
	wantCheck(t, g.checkTaps(), control.CheckOK, "the last one 0s ago")
	g.tapped.Store(int64(uptime() - 9*24*time.Hour))
	wantCheck(t, g.checkTaps(), control.CheckWarn, "9 days ago")
}

func TestDoctorReadsTheDatabases(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "list.db")
	open := func() *cache.List {
		t.Helper()
		l, err := cache.OpenList(path)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	var entries []session.Entry
	for i := range 2000 {
		entries = append(entries, session.Entry{UID: session.IDToken(strings.ToUpper(hexOf(i))), Status: session.Accepted, Account: "r-1042"})
	}
	fill(t, l, entries)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ledger, err := cache.OpenLedger(filepath.Join(dir, "ledger.db"), cache.LedgerOpts{Gateway: "gw-1", Stamp: func() session.Stamp { return session.Stamp{BootID: "b"} }})
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()

	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("rubbish ", 1024)), 5*4096); err != nil {
		t.Fatal(err)
	}
	f.Close()
	l = open()
	defer l.Close()
	got := (&gateway{list: l, ledger: ledger}).examineDatabases(t.Context())
	wantCheck(t, got[0], control.CheckFail, "the card may be failing")
	wantCheck(t, got[1], control.CheckOK, "nothing is damaged")
}

func hexOf(i int) string {
	const digits = "0123456789abcdef"
	b := []byte("04000000")
	for at := len(b) - 1; i > 0; at-- {
		b[at] = digits[i%16]
		i /= 16
	}
	return string(b)
}

// The whole examination of a gateway at work, and a relay that is tried.
func TestDoctorOfAWholeGateway(t *testing.T) {
	h := newHouse(t, nowhere)
	h.hw.board = []control.Check{{Name: "board", State: control.CheckFail, Text: "undervoltage", Do: "a better supply"}}
	h.ready()
	lines := h.examine(control.Examination{})
	for _, want := range []string{
		"FAIL board: undervoltage", "ok certificates: ", "ok disk: ", "ok wear: ", "ok name service: ", "ok chip: ",
		"ok station washer: relay: open, on GPIO17", "ok station washer: meter: none", "ok database list.db", "ok database ledger.db",
		"FAIL list: l-1: no list yet", "ok ledger: 1 records", "ok taps: none since",
	} {
		wantLine(t, lines, want, "")
	}

	if err := h.ctl.Post(t.Context(), "/v1/stations/washer/test", nil, nil); err != nil {
		t.Fatal(err)
	}
	h.eventually("the relay open again", func(s control.Status) bool {
		on, moves := h.hw.relay()
		return !on && moves == 2 && s.Stations[0].TransactionID == ""
	})
	if err := h.ctl.Post(t.Context(), "/v1/stations/attic/test", nil, nil); err == nil || !strings.Contains(err.Error(), "no station") {
		t.Errorf("got %v, want the station unknown", err)
	}

	var records []json.RawMessage
	if err := h.ctl.Get(t.Context(), "/v1/records", &records); err != nil {
		t.Fatal(err)
	}
	last := string(records[len(records)-1])
	if !strings.Contains(last, `"review":["ServiceTest"]`) || !strings.Contains(last, `"uid":""`) {
		t.Errorf("got %s, want the end of a test that nobody's badge began", last)
	}
}

func TestSupportSeesNoBadgeAndNoAccount(t *testing.T) {
	key := make([]byte, 32)
	got, err := hide([]byte(`{"type":"TransactionEvent","uid":"04A1B2C3","account":"r-1042","energy":7}`), []string{"account", "uid"}, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"04A1B2C3", "r-1042"} {
		if strings.Contains(string(got), secret) {
			t.Errorf("got %s, want no %s", got, secret)
		}
	}
	if !strings.Contains(string(got), keyed(key, "r-1042")) || !strings.Contains(string(got), `"energy":7`) {
		t.Errorf("got %s, want a stand-in and the rest as it was", got)
	}
}
