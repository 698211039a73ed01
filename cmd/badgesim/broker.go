package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// broker is the desk's own: in memory, for anybody on this machine. It can go
// away and come back at its address; what it had retained is then gone.
type broker struct {
	addr string

	mu     sync.Mutex
	server *mqtt.Server
}

// Start opens the broker.
func (b *broker) Start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server != nil {
		return nil
	}
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	if err := s.AddListener(listeners.NewTCP(listeners.Config{ID: "desk", Address: b.addr})); err != nil {
		return fmt.Errorf("open the desk's broker at %s: %w", b.addr, err)
	}
	if err := s.Serve(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	b.server = s
	return nil
}

// Stop closes the broker and every connection to it.
func (b *broker) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server != nil {
		b.server.Close()
		b.server = nil
	}
}

// ownBroker tells whether a gateway's broker is one that the desk can be: plain
// MQTT on this machine.
func ownBroker(u *url.URL) bool {
	if u.Scheme != "tcp" && u.Scheme != "mqtt" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// freePort is the desk's usual port, or any other one if that is taken.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:18830")
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return 0, fmt.Errorf("find a port for the desk's broker: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
