package main_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"badged/cache/cachetest"
	"badged/cmd/badgesim/audit"
	"badged/cmd/internal/backend"
	"badged/cmd/internal/control"
	"badged/session"
	"badged/uplink/uplinktest"
)

// crashConfig is a site with a machine of each kind. Its durations are cut, so
// that sessions begin and end between two cuts; nothing else is different.
const crashConfig = `
[gateway]
id = "crash"
site = "crash"
billing = "managed"
language = "en"
state = "gateway"
site_key = "site.key"
[broker]
url = "tcp://%s"
ack = "%s"
retry_min = "50ms"
retry_max = "300ms"
[list]
name = "crash"
keys = "keys/list-keys.jwks"

[[reader]]
name = "hall"
spi = "/dev/spidev0.0"
[[reader]]
name = "cellar"
spi = "/dev/spidev0.1"
[[reader]]
name = "garage"
spi = "/dev/spidev1.0"

[[station]]
id = "washer"
kind = "laundry"
reader = "hall"
relay = "GPIO5"
start_timeout = "2s"     # at home 5m
delay_max = "2s"         # at home 12h
idle_power_w = 1000.0    # at home 15
idle_for = "700ms"       # at home 8m
earliest_end = "500ms"   # at home 10m
door_release = "500ms"   # at home 10m
[station.meter]
type = "s0"
pin = "GPIO27"
pulses_per_kwh = 10000

[[station]]
id = "dryer"
kind = "laundry"
reader = "cellar"
relay = "GPIO6"
start_timeout = "3s"
delay_max = "3s"
idle_power_w = 1000.0
idle_for = "3s"
earliest_end = "500ms"
door_release = "500ms"
[station.meter]
type = "modbus-tcp"
address = "%s"
unit = 7
model = "sdm120"

[[station]]
id = "charger"
kind = "charging"
reader = "garage"
relay = "GPIO23"
plug = "GPIO22"
start_timeout = "3s"
resume_within = "10m"    # at home 4h
resume_wait = "2s"       # at home 5m
[station.meter]
type = "modbus-tcp"
address = "%s"
unit = 8
model = "sdm230"
`

const crashSiteKey = "5f6b1b3fdc0a4d5e8b17a20c94e6f3021c7d88e04b5a69f3d2e1807c6b5a4930"

// judged is the site as the judge has to know it.
func (s *crashSite) judged() audit.Site {
	key, _ := hex.DecodeString(crashSiteKey)
	return audit.Site{Gateway: "crash", SiteKey: key, Stations: []audit.Station{
		{ID: "washer", Reader: "hall", Pulse: 0.1, Release: 500 * time.Millisecond},
		{ID: "dryer", Reader: "cellar", Release: 500 * time.Millisecond},
		{ID: "charger", Reader: "garage", Charging: true},
	}}
}

// crashSite is a world, a broker, a backend, a publisher, and a gateway that
// dies: each but the publisher a process.
type crashSite struct {
	t           *testing.T
	end         end
	rnd         *rand.Rand // of the story's own goroutine
	dir, config string
	addr        string // of the broker
	world, door *control.Client
	disk        *cachetest.Disk // under the gateway's state; nil is the machine's own

	broker, backend, gateway *child
	badges                   []session.Entry // as the publisher has them
	publisher                *backend.Publisher
	ahead                    time.Duration // of the machine's clock the site's true time is
	boots                    int
	tapped                   chan struct{} // a badge comes

	mu       sync.Mutex
	log      []audit.Entry
	children []*child
}

var crashSites atomic.Uint32

// loopback is an address of this machine's that no other site has, and no
// connection that comes and goes: a port that was free would soon not be.
func loopback() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 1+pid%250, 1+pid/250%250, 1+crashSites.Add(1)%250)
}

func newCrashSite(t *testing.T, dir string, e end, rnd *rand.Rand) *crashSite {
	t.Helper()
	host := loopback()
	s := &crashSite{t: t, end: e, rnd: rnd, dir: dir, tapped: make(chan struct{}, 1), config: filepath.Join(dir, "badged.toml"), addr: host + ":21883",
		world: control.NewClient(filepath.Join(dir, control.WorldSocket)), door: control.NewClient(filepath.Join(dir, control.GatewaySocket))}
	meters := host + ":21502"
	s.write("badged.toml", fmt.Sprintf(crashConfig, s.addr, e.ack, meters, meters))
	s.write("site.key", crashSiteKey+"\n")
	// No persistence: what the broker has acknowledged dies with it.
	s.write("mosquitto.conf", fmt.Sprintf("listener 21883 %s\nallow_anonymous true\npersistence false\n", host))
	t.Cleanup(func() {
		for _, c := range s.children {
			c.end(syscall.SIGKILL)
		}
		if s.disk != nil {
			s.disk.Unmount()
		}
	})
	s.makeList()
	if e.power {
		e.disk.Seed = rnd.Uint64()
		s.disk = cachetest.New(e.disk)
		s.mount()
	}
	lines := map[bool]string{true: "drop", false: "persist"}[e.drop]
	s.spawn("world", program(t, "badgesim"), "world", dir, "--config", s.config, "--broker", "tcp://"+s.addr, "--no-backend", "--lines", lines)
	eventually(t, "the world", func() bool { return s.world.Get(t.Context(), "/v1/state", nil) == nil })
	s.startBroker()
	s.startBackend()
	return s
}

func (s *crashSite) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// mount puts the disk under the gateway's state.
func (s *crashSite) mount() {
	s.t.Helper()
	state := filepath.Join(s.dir, "gateway")
	if err := os.MkdirAll(state, 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := s.disk.Mount(state); err != nil {
		s.disk = nil
		s.t.Skip(err)
	}
}

// child is a process of the site's.
type child struct {
	cmd  *exec.Cmd
	gone chan struct{}
}

// spawn starts a program; what it says goes to a file of that name.
func (s *crashSite) spawn(name, program string, args ...string) *child {
	s.t.Helper()
	out, err := os.OpenFile(filepath.Join(s.dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	fmt.Fprintf(out, "-- %d\n", bootTime())
	c := &child{exec.Command(program, args...), make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = out, out
	if err := c.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(c.gone)
		c.cmd.Wait()
	}()
	s.children = append(s.children, c)
	return c
}

// end ends a process and waits until it is gone.
func (c *child) end(sig syscall.Signal) {
	c.cmd.Process.Signal(sig)
	kill := time.AfterFunc(30*time.Second, func() { c.cmd.Process.Kill() })
	defer kill.Stop()
	<-c.gone
}

// alive tells whether it still runs.
func (c *child) alive() bool {
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

func (s *crashSite) startBroker() {
	s.t.Helper()
	s.broker = s.spawn("mosquitto", uplinktest.Need(s.t, "mosquitto"), "-c", filepath.Join(s.dir, "mosquitto.conf"))
	eventually(s.t, "mosquitto", func() bool { return listens(s.addr) })
	s.push()
}

func (s *crashSite) startBackend() {
	s.t.Helper()
	args := []string{"events", "--store", filepath.Join(s.dir, "store"), "--broker", "tcp://" + s.addr}
	if s.end.ack == "backend" {
		args = append(args, "--ack")
	}
	s.backend = s.spawn("backend", program(s.t, "badgectl"), args...)
}

// crashBadges are two badges of each of six accounts, and one that stops all.
func crashBadges() (all []session.Entry) {
	for i := range 12 {
		all = append(all, session.Entry{UID: session.IDToken(fmt.Sprintf("04A1B2%02X", i)), Status: session.Accepted, Account: fmt.Sprint("r-", i/2)})
	}
	return append(all, session.Entry{UID: masterBadge, Status: session.Accepted, Account: "caretaker", Role: session.Master})
}

const (
	masterBadge  = "5A3C7E11"
	unknownBadge = "8D6FA144"
)

// makeList makes the publisher and its keys.
func (s *crashSite) makeList() {
	s.t.Helper()
	keys := filepath.Join(s.dir, "keys")
	if err := backend.Keygen(keys); err != nil {
		s.t.Fatal(err)
	}
	key, err := backend.ReadKey(filepath.Join(keys, backend.KeyFile))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.publisher, err = backend.OpenPublisher(filepath.Join(s.dir, "lists"), "crash", backend.BrokerOpts{URL: "tcp://" + s.addr}, key); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.publisher.Close() })
	s.publisher.Settle = 50 * time.Millisecond
	s.badges = crashBadges()
}

// push publishes the badges. What a version holds is in the log before anybody
// can have it; a push that a dead broker cuts short is made good by the next.
func (s *crashSite) push() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	o := backend.PushOpts{Force: true}
	next, err := s.publisher.Push(ctx, s.badges, backend.PushOpts{Force: true, DryRun: true})
	if err != nil {
		s.t.Fatal(err)
	}
	badges := map[string]string{}
	for _, e := range s.badges {
		badges[string(e.UID)] = string(e.Status)
	}
	s.note(audit.Entry{What: "list", Version: next.To, Badges: badges})
	s.publisher.Push(ctx, s.badges, o)
}

// bootTime is this machine's CLOCK_BOOTTIME in microseconds, as in the log.
func bootTime() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano()).Microseconds()
}

// note adds to the log what happens now.
func (s *crashSite) note(e audit.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.AtUs = bootTime()
	s.log = append(s.log, e)
}

// do asks the world for something.
func (s *crashSite) do(endpoint string, in any) {
	s.t.Helper()
	if err := s.world.Post(s.t.Context(), endpoint, in, nil); err != nil {
		s.t.Fatal(err)
	}
}

// written is the whole log, the world's own with it, as it also stays in a file.
func (s *crashSite) written() []audit.Entry {
	s.t.Helper()
	var all []audit.Entry
	if err := s.world.Get(s.t.Context(), "/v1/history", &all); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all = append(all, s.log...)
	var b bytes.Buffer
	for _, e := range all {
		if err := json.NewEncoder(&b).Encode(e); err != nil {
			s.t.Fatal(err)
		}
	}
	s.write("world.jsonl", b.String())
	log, err := audit.ReadLog(&b)
	if err != nil {
		s.t.Fatal(err)
	}
	return log
}

func metered(st control.Status) bool {
	for _, x := range st.Stations {
		if x.Fault != "" || x.MeterFault != "" {
			return false
		}
	}
	return len(st.Stations) > 0
}

func readersReady(st control.Status) bool {
	for _, r := range st.Readers {
		if r.State != "ready" {
			return false
		}
	}
	return len(st.Readers) > 0
}
