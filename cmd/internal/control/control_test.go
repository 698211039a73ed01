package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/control"
)

type gateway struct{ enabled map[string]bool }

func (g *gateway) Status() any   { return map[string]string{"gateway": "gw-0042"} }
func (g *gateway) Sessions() any { return []string{} }

func (g *gateway) EnableStation(_ context.Context, station string, on bool) error {
	if _, ok := g.enabled[station]; !ok {
		return errors.New("no station " + station + ": there is washer")
	}
	g.enabled[station] = on
	return nil
}

func (g *gateway) TestRelay(ctx context.Context, station string) error {
	return g.EnableStation(ctx, station, true)
}

func (g *gateway) Records(context.Context) ([]json.RawMessage, error) {
	return []json.RawMessage{[]byte(`{"seq":1}`)}, nil
}

func (g *gateway) Blink(context.Context) error { return nil }

func (g *gateway) Enrol(context.Context) (control.Enrolment, error) {
	return control.Enrolment{UID: "04A1B2C3", Verdict: "accept"}, nil
}

func (g *gateway) Doctor(_ context.Context, e control.Examination) ([]control.Check, error) {
	return []control.Check{{Name: "reader " + e.Reader, State: control.CheckWarn, Text: "clone", Do: "nothing"}}, nil
}

// serve runs h on a socket of its own until the test ends.
func serve(t *testing.T, h http.Handler) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "control.sock")
	start(t, path, h)
	return path
}

// start serves h at path and returns what stops it and waits for it.
func start(t *testing.T, path string, h http.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, path, h) }()
	for deadline := time.Now().Add(5 * time.Second); ; {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			break
		}
		select {
		case err := <-done:
			t.Fatalf("serve %s: %v", path, err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing listens at %s", path)
		}
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: got %v, want nil", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestGatewayEndpoints(t *testing.T) {
	g := &gateway{enabled: map[string]bool{"washer": true}}
	c := control.NewClient(serve(t, control.Handler(g, new(control.Hub))))
	var status map[string]string
	if err := c.Get(t.Context(), "/v1/status", &status); err != nil || status["gateway"] != "gw-0042" {
		t.Errorf("status: got %v, %v, want gw-0042", status, err)
	}
	if err := c.Post(t.Context(), "/v1/stations/washer/disable", nil, nil); err != nil || g.enabled["washer"] {
		t.Errorf("disable: got enabled %v, %v, want disabled", g.enabled["washer"], err)
	}
	if err := c.Post(t.Context(), "/v1/stations/washer/enable", nil, nil); err != nil || !g.enabled["washer"] {
		t.Errorf("enable: got enabled %v, %v, want enabled", g.enabled["washer"], err)
	}
	if err := c.Post(t.Context(), "/v1/blink", nil, nil); err != nil {
		t.Errorf("blink: got %v, want nil", err)
	}
	var badge control.Enrolment
	if err := c.Post(t.Context(), "/v1/enrol", nil, &badge); err != nil || badge.UID != "04A1B2C3" || badge.Verdict != "accept" {
		t.Errorf("enrol: got %+v, %v, want the badge", badge, err)
	}
	var checks []control.Check
	err := c.Post(t.Context(), "/v1/doctor", control.Examination{Reader: "hall"}, &checks)
	if err != nil || len(checks) != 1 || checks[0] != (control.Check{Name: "reader hall", State: "warn", Text: "clone", Do: "nothing"}) {
		t.Errorf("doctor: got %v, %v, want one warning", checks, err)
	}
}

func TestErrorsReachTheCaller(t *testing.T) {
	g := &gateway{}
	c := control.NewClient(serve(t, control.Handler(g, new(control.Hub))))
	for name, tt := range map[string]struct {
		endpoint string
		in       any
		want     string
	}{
		"unknown station":  {"/v1/stations/dryer/enable", nil, "no station dryer: there is washer"},
		"unknown endpoint": {"/v1/coffee", nil, "404"},
		"unknown field":    {"/v1/blink", map[string]int{"speed": 1}, `unknown field "speed"`},
		"wrong type":       {"/v1/blink", []int{1}, "read request"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.Post(t.Context(), tt.endpoint, tt.in, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestCallCarriesArgumentAndResult(t *testing.T) {
	type load struct{ Watts float64 }
	mux := http.NewServeMux()
	mux.Handle("POST /v1/load", control.Call(func(_ context.Context, l load) (load, error) {
		return load{l.Watts * 2}, nil
	}))
	c := control.NewClient(serve(t, mux))
	var got load
	if err := c.Post(t.Context(), "/v1/load", load{100}, &got); err != nil || got.Watts != 200 {
		t.Errorf("got %v, %v, want 200 W", got, err)
	}
}

func TestWatchMissesNothingOnceReady(t *testing.T) {
	hub := new(control.Hub)
	c := control.NewClient(serve(t, control.Handler(&gateway{}, hub)))
	stop := errors.New("enough")
	var got []string
	err := c.Watch(t.Context(), func() {
		hub.Publish(control.Event{Kind: "card", UID: "04A1…C3"})
		hub.Publish(control.Event{Kind: "decision", Reason: "UnknownBadge"})
	}, func(e control.Event) error {
		got = append(got, e.Kind+" "+e.UID+e.Reason)
		if len(got) == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("watch: got %v, want the callback's error", err)
	}
	if want := "card 04A1…C3,decision UnknownBadge"; strings.Join(got, ",") != want {
		t.Errorf("events: got %q, want %q", got, want)
	}
}

func TestWatchEndsWithTheCaller(t *testing.T) {
	c := control.NewClient(serve(t, control.Handler(&gateway{}, new(control.Hub))))
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Watch(ctx, cancel, func(control.Event) error { return nil }); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestWatchEndsWithTheGateway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	stop := start(t, path, control.Handler(&gateway{}, new(control.Hub)))
	err := control.NewClient(path).Watch(t.Context(), stop, func(control.Event) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "ended the stream") {
		t.Errorf("got %v, want an error that says who ended it", err)
	}
}

func TestHubDropsASlowWatcherOnly(t *testing.T) {
	hub := new(control.Hub)
	slow, stopSlow := hub.Watch()
	fast, stopFast := hub.Watch()
	defer stopFast()
	const many = 1000
	for i := range many {
		hub.Publish(control.Event{Kind: "card"})
		if _, ok := <-fast; !ok {
			t.Fatalf("fast watcher dropped at event %d", i)
		}
	}
	n := 0
	for range slow {
		n++
	}
	if n == 0 || n >= many {
		t.Errorf("slow watcher: got %d of %d events before it was dropped, want some", n, many)
	}
	stopSlow() // after the drop: no second close
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as a killed daemon leaves it
	l.Close()
	start(t, path, control.Handler(&gateway{}, new(control.Hub)))
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode: got %v, %v, want 0660", info.Mode().Perm(), err)
	}
}

func TestServeRefuses(t *testing.T) {
	dir := t.TempDir()
	live := filepath.Join(dir, "live.sock")
	start(t, live, http.NotFoundHandler())
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ path, want string }{
		"a live socket":    {live, "another daemon runs"},
		"a file":           {file, "is not a socket"},
		"a path too long":  {filepath.Join(dir, strings.Repeat("x", 120)), "shorter one"},
		"a folder's place": {filepath.Join(file, "control.sock"), "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			err := control.Serve(t.Context(), tt.path, http.NotFoundHandler())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "x" {
		t.Errorf("file: got %q, %v, want it untouched", b, err)
	}
}

func TestClientSaysWhatToTry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	err := control.NewClient(path).Get(t.Context(), "/v1/status", nil)
	for _, want := range []string{"nothing listens at " + path, "is badged running?", "--socket"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "http:") {
			t.Errorf("got %v, want an error with %q, and nothing of the transport", err, want)
		}
	}
}

func TestSocketPath(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("BADGED_SOCKET", "")
	if got, want := control.DeskDir(), filepath.Join(home, ".local/state/badgesim"); got != want {
		t.Errorf("desk: got %q, want %q", got, want)
	}
	t.Setenv("XDG_STATE_HOME", "/state")
	if got, want := control.DeskDir(), "/state/badgesim"; got != want {
		t.Errorf("desk with XDG_STATE_HOME: got %q, want %q", got, want)
	}
	if _, err := os.Stat("/run/badged/control.sock"); err != nil {
		if got, want := control.SocketPath(""), "/state/badgesim/control.sock"; got != want {
			t.Errorf("no flag: got %q, want %q", got, want)
		}
	}
	t.Setenv("BADGED_SOCKET", "/env.sock")
	if got, want := control.SocketPath(""), "/env.sock"; got != want {
		t.Errorf("environment: got %q, want %q", got, want)
	}
	if got, want := control.SocketPath("/flag.sock"), "/flag.sock"; got != want {
		t.Errorf("flag: got %q, want %q", got, want)
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_STATE_HOME", "")
	if got := control.DeskDir(); !strings.HasPrefix(got, os.TempDir()) {
		t.Errorf("desk without a home: got %q, want it under %q", got, os.TempDir())
	}
}
