package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"badged/cmd/internal/control"
	"badged/cmd/internal/gateway"
)

type deskCmd struct {
	worldFlags
	Config     string `placeholder:"F" help:"Gateway's config (default: the desk's own)."`
	State      string `placeholder:"DIR" default:"${desk}" help:"Folder of the desk (default: ${default})."`
	Broker     string `placeholder:"URL" help:"Use this broker and start none."`
	Socket     string `placeholder:"PATH" help:"Control socket (default: control.sock in the folder)."`
	SPIConnect string `name:"spi-connect" placeholder:"PATH" help:"Drive a chip on this socket instead of the world's."`
	Demo       bool   `help:"Play a story, check every step of it from outside, and exit 0 only if all came out."`
	WeldRelay  bool   `hidden:"" help:"With --demo: no relay moves, so that the demo must fail."`
}

// Run is a whole gateway at a desk, until it is interrupted or the demo is over.
func (c *deskCmd) Run(e *env) error {
	if c.Demo {
		return runDemo(e, c)
	}
	d, err := openDesk(c.State, deskOpts{config: c.Config, broker: c.Broker, socket: c.Socket})
	if err != nil {
		return err
	}
	defer d.Close()
	return d.runWorld(e.ctx, c.worldFlags, "", worldLog(e, c.Verbose), func(ctx context.Context, _ *world) error {
		go d.tellWhenReady(ctx, e.out)
		return (&process{args: d.gatewayArgs(c), out: e.err}).run(ctx)
	})
}

// readyTimeout is how long the story waits for a gateway that knows its badges.
const readyTimeout = 15 * time.Second

// tellWhenReady tells the story as soon as what it invites to works.
func (d *desk) tellWhenReady(ctx context.Context, out io.Writer) {
	door := control.NewClient(d.socket)
	for end := time.Now().Add(readyTimeout); ctx.Err() == nil && time.Now().Before(end); {
		var s control.Status
		if door.Get(ctx, "/v1/status", &s) == nil && (s.List.Version > 0 || !d.own) && readersReady(s) {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	d.story(out)
}

// gatewayArgs is how this program is called to be the gateway.
func (d *desk) gatewayArgs(c *deskCmd) []string {
	args := []string{"gateway", d.dir, "--config", d.config, "--socket", d.socket}
	if c.SPIConnect != "" {
		args = append(args, "--spi-connect", c.SPIConnect)
	}
	if c.Broker != "" {
		args = append(args, "--broker", c.Broker)
	}
	if c.Verbose {
		args = append(args, "--verbose")
	}
	return args
}

// process is the gateway's, started again when it dies, as systemd would.
type process struct {
	args []string
	out  io.Writer

	mu     sync.Mutex
	cmd    *exec.Cmd
	starts int
	last   time.Time
}

// restartAfter is how long a gateway that died stays dead.
const restartAfter = time.Second

// stopTimeout is what a gateway gets to stop well.
const stopTimeout = 5 * time.Second

func (p *process) run(ctx context.Context) error {
	for {
		err := p.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == gateway.ExitConfig {
			return errors.New("the gateway refuses its config")
		}
		fmt.Fprintf(p.out, "gateway ended (%v); starting it again\n", err)
		select {
		case <-ctx.Done():
		case <-time.After(restartAfter):
		}
	}
}

func (p *process) once(ctx context.Context) error {
	// Pdeathsig is about the thread that started the child, not the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, p.args...)
	cmd.Stdout, cmd.Stderr = p.out, p.out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	// It must not outlive a world that was killed, nor get the terminal's Ctrl-C twice.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.mu.Lock()
	p.cmd = cmd
	p.starts++
	p.last = time.Now()
	p.mu.Unlock()
	return cmd.Wait()
}

// kill ends the gateway as a power cut ends a daemon, only that the kernel lives.
func (p *process) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return errors.New("no gateway process")
	}
	return p.cmd.Process.Signal(syscall.SIGKILL)
}

// started counts the starts, and tells when the last one was.
func (p *process) started() (n int, last time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts, p.last
}

func readersReady(s control.Status) bool {
	for _, r := range s.Readers {
		if r.State != "ready" {
			return false
		}
	}
	return len(s.Readers) > 0
}
