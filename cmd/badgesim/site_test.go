package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"badged/cmd/internal/control"
	"badged/session"
)

// siteConfig is a laundry with a meter of each kind, its durations cut as the
// demo's are.
const siteConfig = `
[gateway]
id = "site"
site = "site"
billing = "managed"
language = "en"
state = "gateway"
max_sessions_per_account = 1
[broker]
url = "tcp://%s"
retry_min = "50ms"
retry_max = "200ms"
[list]
name = "site"
keys = "keys/list-keys.jwks"

[[reader]]
name = "hall"
spi = "/dev/spidev0.0"
[[reader]]
name = "cellar"
spi = "/dev/spidev0.1"

[[station]]
id = "washer"
kind = "laundry"
reader = "hall"
relay = "GPIO17"
idle_power_w = 1000.0
idle_for = "3s"
earliest_end = "1s"
door_release = "2s"
[station.meter]
type = "s0"
pin = "GPIO27"
pulses_per_kwh = 10000

[[station]]
id = "dryer"
kind = "laundry"
reader = "cellar"
relay = "GPIO18"
idle_power_w = 1000.0
idle_for = "5s"
earliest_end = "1s"
door_release = "2s"
[station.meter]
type = "modbus-tcp"
address = "%s"
unit = 7
model = "sdm120"
`

const siteList = `uid,account,role
04A1B2C3,r-1,user
9CFB136D,r-1,user
30949AD1,r-2,user
2A3B4C5D,r-3,user
5A3C7E11,caretaker,master
6B4D8F22,technician,service
`

// site is a world, a broker and a gateway, each started by hand.
type site struct {
	desk
	dir, config string
	broker      string // host:port
	world       *control.Client
	gateway     *exec.Cmd
}

func newSite(t *testing.T, worldFlags ...string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("runs programs")
	}
	dir := t.TempDir()
	s := &site{
		desk: desk{t, filepath.Join(dir, control.GatewaySocket)}, dir: dir, config: filepath.Join(dir, "badged.toml"),
		broker: freeAddr(t), world: control.NewClient(filepath.Join(dir, control.WorldSocket)),
	}
	s.write(s.config, fmt.Sprintf(siteConfig, s.broker, freeAddr(t)))
	s.write(filepath.Join(dir, "badges.csv"), siteList)
	s.must("list", "keygen", "--out", filepath.Join(dir, "keys"))
	start(t, program(t, "badgesim"), append([]string{"world", dir, "--config", s.config}, worldFlags...)...)
	eventually(t, "the site's broker", func() bool { return listens(s.broker) })
	s.must("list", "push", filepath.Join(dir, "badges.csv"), "--list", "site", "--broker", "tcp://"+s.broker,
		"--sign", filepath.Join(dir, "keys", "list-key.jwk"), "--store", filepath.Join(dir, "lists"))
	s.boot(program(t, "badgesim"))
	eventually(t, "the list", s.hasList)
	return s
}

func (s *site) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// boot starts a gateway process and returns when that was.
func (s *site) boot(program string) time.Time {
	s.t.Helper()
	at := time.Now()
	s.gateway = start(s.t, program, "gateway", s.dir, "--config", s.config)
	return at
}

// end ends the gateway's process by a signal.
func (s *site) end(sig syscall.Signal) {
	s.t.Helper()
	if err := s.gateway.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	s.gateway.Wait()
}

// state is what the world itself saw.
func (s *site) state() (w control.World) {
	s.t.Helper()
	if err := s.world.Get(s.t.Context(), "/v1/state", &w); err != nil {
		s.t.Fatal(err)
	}
	return w
}

func (s *site) relay(station string) bool { return s.state().Machines[station].Relay }

// status is the gateway's own, empty while it cannot be asked.
func (s *site) status() (st control.Status) {
	out, err := s.ctl("status", "--json")
	if err != nil || json.Unmarshal([]byte(out), &st) != nil {
		return control.Status{}
	}
	return st
}

// open is the session at a station as the gateway tells it.
func (s *site) open(station string) (id string) {
	for _, st := range s.status().Stations {
		if st.ID == station {
			id = st.TransactionID
		}
	}
	return id
}

func TestLaundryThroughEachKindOfMeter(t *testing.T) {
	s := newSite(t)
	heard := subscribe(t, s.broker)
	for _, tc := range []struct {
		station, reader string
		watts           string
	}{
		{"washer", "hall", "4000"},
		{"dryer", "cellar", "14000"},
	} {
		t.Run(tc.station, func(t *testing.T) {
			eventually(t, "an available station", func() bool {
				for _, st := range s.status().Stations {
					if st.ID == tc.station {
						return st.Status == "Available"
					}
				}
				return false
			})
			s.must("load", tc.station, tc.watts)
			began := s.tap("04A1B2C3", "--reader", tc.reader)
			if began.Status != "Accepted" || began.Station != tc.station {
				t.Fatalf("got %+v, want a start of %s", began, tc.station)
			}
			eventually(t, "15 Wh", func() bool { return s.state().Machines[tc.station].Wh > 15 })
			if !s.relay(tc.station) {
				t.Fatal("got an open relay in the cycle")
			}
			s.must("load", tc.station, "0")
			eventually(t, "an Ended record", func() bool {
				all := heard.records(tc.station)
				return len(all) > 0 && all[len(all)-1].EventType == "Ended"
			})
			all := heard.records(tc.station)
			end, drawn := all[len(all)-1], s.state().Machines[tc.station].Wh
			if end.TransactionID != began.TransactionID || end.StoppedReason != "Other" {
				t.Errorf("got %+v, want the end of %s by its load", end, began.TransactionID)
			}
			if diff := float64(end.Energy) - drawn; diff < -1.2 || diff > 1 {
				t.Errorf("got %d Wh billed, the machine drew %.2f", end.Energy, drawn)
			}
			eventually(t, "the end of the door release", func() bool { return !s.relay(tc.station) })
		})
	}
}

// ends are the ways in which a gateway's process comes to its end.
var ends = []struct {
	name    string
	signal  syscall.Signal
	upgrade bool
}{
	{"killed", syscall.SIGKILL, false},
	{"crashed", syscall.SIGABRT, false},
	{"restarted", syscall.SIGTERM, false},
	{"upgraded", syscall.SIGTERM, true},
}

// upgraded is another build of the same program.
func upgraded(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "badgesim-2")
	out, err := exec.Command("go", "build", "-ldflags", "-X main.version=the-next-one", "-o", path, "badged/cmd/badgesim").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// inSession is a site whose washer runs.
func inSession(t *testing.T, worldFlags ...string) (s *site, id string) {
	t.Helper()
	s = newSite(t, worldFlags...)
	s.must("load", "washer", "3000")
	began := s.tap("04A1B2C3")
	if began.Status != "Accepted" || !s.relay("washer") {
		t.Fatalf("got %+v, want the washer to run", began)
	}
	return s, began.TransactionID
}

func TestRelayDoesNotMoveWhileTheLineStands(t *testing.T) {
	s, id := inSession(t, "--lines", "persist")
	next := upgraded(t)
	moves := len(s.state().Moves)
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			s.end(e.signal)
			program := program(t, "badgesim")
			if e.upgrade {
				program = next
			}
			at := s.boot(program)
			eventually(t, "the session", func() bool { return s.open("washer") == id })
			if e.upgrade && s.status().Version != "the-next-one" {
				t.Errorf("got version %s, want the next one", s.status().Version)
			}
			if w := s.state(); len(w.Moves) != moves || !w.Machines["washer"].Relay {
				t.Errorf("got moves %+v, want none since the start", w.Moves)
			}
			t.Logf("session back %v after the process began", time.Since(at).Round(time.Millisecond))
		})
	}
	s.must("load", "washer", "0")
	eventually(t, "the end of the session, by its load", func() bool { return !s.relay("washer") })
	if w := s.state(); len(w.Moves) != moves+1 {
		t.Errorf("got moves %+v, want one more", w.Moves)
	}
}

func TestRelayThatFellIsClosedAtOnce(t *testing.T) {
	s, id := inSession(t, "--lines", "drop")
	next := upgraded(t)
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			before := len(s.state().Moves)
			s.end(e.signal)
			eventually(t, "the fall", func() bool { return !s.relay("washer") })
			program := program(t, "badgesim")
			if e.upgrade {
				program = next
			}
			at := s.boot(program)
			eventually(t, "the relay closed again", func() bool { return s.relay("washer") })
			moves := s.state().Moves[before:]
			if len(moves) != 2 || moves[0].On || !moves[1].On || moves[1].Station != "washer" {
				t.Fatalf("got moves %+v, want one fall and one closing", moves)
			}
			t.Logf("relay driven %v after the process began", moves[1].At.Sub(at).Round(time.Millisecond))
			eventually(t, "the session", func() bool { return s.open("washer") == id })
		})
	}
}

func TestStopWithoutASessionLeavesNoRelayOn(t *testing.T) {
	s, _ := inSession(t)
	time.Sleep(2 * time.Second)
	s.must("load", "washer", "0")
	eventually(t, "door release", func() bool { return s.open("washer") == "" && s.relay("washer") })
	s.end(syscall.SIGTERM)
	if s.relay("washer") {
		t.Error("got a relay that is on, want it off when the gateway was stopped in door release")
	}
}

// A machine that somebody runs on the door release runs on when the gateway is killed,
// if its line stands; a line that fell stays fallen.
func TestProlongedDoorReleaseOverARestart(t *testing.T) {
	for _, lines := range []string{"persist", "drop"} {
		t.Run(lines, func(t *testing.T) {
			s, _ := inSession(t, "--lines", lines)
			// A window that a busy machine's pulses do not miss.
			window := 10 * time.Second
			s.write(s.config, strings.Replace(fmt.Sprintf(siteConfig, s.broker, "127.0.0.1:1"), `idle_for = "3s"`, `idle_for = "10s"`, 1))
			s.end(syscall.SIGTERM)
			s.boot(program(t, "badgesim"))
			washer := func() (st session.StationStatus) {
				for _, st := range s.status().Stations {
					if st.ID == "washer" {
						return st
					}
				}
				return st
			}
			eventually(t, "a cycle", func() bool { return s.hasList() && washer().Phase == session.PhaseInUse })
			if got := s.tap("5A3C7E11"); got.Status != "Accepted" {
				t.Fatalf("got %+v, want the master to end the session", got)
			}
			eventually(t, "the end", func() bool { return washer().Phase == session.PhaseAvailable })
			time.Sleep(3 * time.Second) // past the door release
			before := len(s.state().Moves)
			s.end(syscall.SIGKILL)
			if lines == "drop" {
				eventually(t, "the fall", func() bool { return !s.relay("washer") })
				before++
			}
			s.boot(program(t, "badgesim"))
			eventually(t, "the meter", func() bool { return washer().Phase == session.PhaseAvailable })
			if lines == "persist" {
				time.Sleep(window + 2*time.Second)
				if w := s.state(); len(w.Moves) != before || !w.Machines["washer"].Relay {
					t.Errorf("got moves %+v, want none: the machine runs", w.Moves[before:])
				}
				s.must("load", "washer", "0")
				before++
			}
			eventually(t, "the end of the release, by the meter", func() bool { return !washer().Relay && !s.relay("washer") })
			if moves := s.state().Moves; len(moves) != before || moves[before-1].On {
				t.Errorf("got moves %+v, want %d, the last an opening", moves, before)
			}
		})
	}
}

func TestRolesLimitsAndDoorAtTheDesk(t *testing.T) {
	s, id := inSession(t)
	for _, step := range []struct {
		what, uid, reader string
		want              tapResult
	}{
		{"another account", "30949AD1", "hall", tapResult{Status: "ConcurrentTx", Reason: "StationOccupied"}},
		{"the account's limit", "9CFB136D", "cellar", tapResult{Status: "ConcurrentTx", Reason: "AccountLimit"}},
		{"service at a free station", "6B4D8F22", "cellar", tapResult{Status: "Accepted", Station: "dryer"}},
		{"master ends it", "5A3C7E11", "hall", tapResult{Status: "Accepted", Station: "washer", TransactionID: id}},
	} {
		got := s.tap(step.uid, "--reader", step.reader)
		if got.Status != step.want.Status || got.Reason != step.want.Reason || step.want.Station != "" && got.Station != step.want.Station ||
			step.want.TransactionID != "" && got.TransactionID != step.want.TransactionID {
			t.Errorf("%s: got %+v, want %+v", step.what, got, step.want)
		}
	}
	s.must("load", "washer", "0")
	eventually(t, "all relays off", func() bool { return !s.relay("washer") && !s.relay("dryer") })
	s.must("station", "washer", "disable")
	if got := s.tap("30949AD1"); got.Reason != "StationDisabled" {
		t.Errorf("got %+v at a disabled station, want StationDisabled", got)
	}
	s.must("station", "washer", "enable")
	if got := s.tap("2A3B4C5D"); got.Status != "Accepted" || !s.relay("washer") {
		t.Errorf("got %+v at an enabled one, want a start", got)
	}
	var tests []string
	for _, m := range s.state().Moves {
		if m.Station == "dryer" {
			tests = append(tests, fmt.Sprint(m.On))
		}
	}
	if strings.Join(tests, " ") != "true false" {
		t.Errorf("got moves %q of the dryer, want the technician's test", tests)
	}
}
