package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"badged/station"
)

// The lines of the desk live in the world, which outlives the gateway. A
// gateway takes a line by opening a connection and gives it back by closing it,
// as it would with the file descriptor of a GPIO line.

// lineRequest is the first thing on a connection; further ones may set an output.
type lineRequest struct {
	Line   string `json:"line"`
	Output bool   `json:"output,omitempty"`
	On     bool   `json:"on,omitempty"`
}

// lineReply answers a request; on an input's connection, edges follow.
type lineReply struct {
	Error  string        `json:"error,omitempty"`
	Active bool          `json:"active,omitempty"`
	Edge   *station.Edge `json:"edge,omitempty"`
}

// lines are the world's end: levels, who drives them, who listens.
type lines struct {
	drop bool // a line whose owner is gone falls back, as some kernels do

	mu      sync.Mutex
	state   map[string]*line
	changed func(line string, on bool) // of outputs; called without the lock
	welded  bool                       // no output moves any more, whatever the gateway does
}

type line struct {
	on        bool
	owned     bool
	seq       uint32
	listeners []chan station.Edge
}

func newLines(drop bool, changed func(string, bool)) *lines {
	return &lines{drop: drop, state: map[string]*line{}, changed: changed}
}

func (l *lines) get(name string) *line {
	if l.state[name] == nil {
		l.state[name] = &line{}
	}
	return l.state[name]
}

// On tells whether a line is active.
func (l *lines) On(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.get(name).on
}

// Weld makes all outputs stay as they are.
func (l *lines) Weld(welded bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.welded = welded
}

// Drive sets an input of the gateway: a plug, a button, the contact of a meter.
func (l *lines) Drive(name string, on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.get(name)
	if n.on == on {
		return
	}
	n.on = on
	n.seq++
	e := station.Edge{Active: on, At: monotonic(), Seq: n.seq}
	for _, c := range n.listeners {
		select {
		case c <- e:
		default: // the kernel's queue overflows too; Seq tells
		}
	}
}

// set is a gateway driving an output.
func (l *lines) set(name string, on bool) {
	l.mu.Lock()
	n := l.get(name)
	moved := n.on != on && !l.welded
	if moved {
		n.on = on
	}
	l.mu.Unlock()
	if moved {
		l.changed(name, on)
	}
}

// serve answers gateways until ctx ends.
func (l *lines) serve(ctx context.Context, ln net.Listener) error {
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			defer c.Close()
			l.serveLine(c)
		}()
	}
}

func (l *lines) serveLine(c net.Conn) {
	in := json.NewDecoder(c)
	out := json.NewEncoder(c)
	var r lineRequest
	if in.Decode(&r) != nil {
		return
	}
	if !l.take(r) {
		out.Encode(lineReply{Error: fmt.Sprintf("line %s is taken by another process", r.Line)})
		return
	}
	defer l.release(r)
	if !r.Output {
		l.listen(r.Line, in, out)
		return
	}
	for {
		l.set(r.Line, r.On)
		if out.Encode(lineReply{}) != nil {
			return
		}
		r = lineRequest{Line: r.Line} // what a request leaves out is off
		if in.Decode(&r) != nil {
			return
		}
	}
}

func (l *lines) take(r lineRequest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.get(r.Line)
	if n.owned {
		return false
	}
	n.owned = true
	return true
}

// release gives a line back. What then becomes of an output's level is up to
// kernel and chip: --lines chooses.
func (l *lines) release(r lineRequest) {
	l.mu.Lock()
	l.get(r.Line).owned = false
	l.mu.Unlock()
	if r.Output && l.drop {
		l.set(r.Line, false)
	}
}

// listen sends a line's edges until the gateway closes the connection.
func (l *lines) listen(name string, in *json.Decoder, out *json.Encoder) {
	edges := make(chan station.Edge, 16) // as many as the kernel keeps
	l.mu.Lock()
	n := l.get(name)
	n.listeners = append(n.listeners, edges)
	active := n.on
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		n.listeners = slices.DeleteFunc(n.listeners, func(c chan station.Edge) bool { return c == edges })
	}()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		var r lineRequest
		for in.Decode(&r) == nil {
		}
	}()
	err := out.Encode(lineReply{Active: active})
	for err == nil {
		select {
		case <-gone:
			return
		case e := <-edges:
			err = out.Encode(lineReply{Edge: &e})
		}
	}
}

func monotonic() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}

// deskLine is the gateway's end of one line; see station.Output and station.Input.
type deskLine struct {
	conn net.Conn
	in   *bufio.Reader
	req  lineRequest

	mu     sync.Mutex
	active bool
}

func takeLine(path string, r lineRequest) (*deskLine, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, fmt.Errorf("reach the desk's world: %w (is badgesim world running?)", err)
	}
	l := &deskLine{conn: c, in: bufio.NewReader(c), req: r}
	rep, err := l.ask(r)
	if err != nil {
		c.Close()
		return nil, err
	}
	l.active = rep.Active
	return l, nil
}

func (l *deskLine) ask(r lineRequest) (lineReply, error) {
	if err := json.NewEncoder(l.conn).Encode(r); err != nil {
		return lineReply{}, fmt.Errorf("line %s: %w", r.Line, err)
	}
	rep, err := l.read()
	if err == nil && rep.Error != "" {
		err = fmt.Errorf("%s", rep.Error)
	}
	return rep, err
}

func (l *deskLine) read() (lineReply, error) {
	var rep lineReply
	b, err := l.in.ReadBytes('\n')
	if err != nil {
		return rep, fmt.Errorf("line %s: %w", l.req.Line, err)
	}
	return rep, json.Unmarshal(b, &rep)
}

// Set drives an output.
func (l *deskLine) Set(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.req.On = on
	_, err := l.ask(l.req)
	return err
}

// Active is the level of an input as last heard.
func (l *deskLine) Active() (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.active, nil
}

// Edges passes on the edges of an input.
func (l *deskLine) Edges(ctx context.Context, f func(station.Edge)) error {
	defer context.AfterFunc(ctx, func() { l.conn.Close() })()
	for {
		rep, err := l.read()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if rep.Edge != nil {
			l.mu.Lock()
			l.active = rep.Edge.Active
			l.mu.Unlock()
			f(*rep.Edge)
		}
	}
}

// Close gives the line back.
func (l *deskLine) Close() error { return l.conn.Close() }
