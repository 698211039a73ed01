package uplink_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy stands between client and broker and does what networks do.
type proxy struct {
	l      net.Listener
	target string

	mu      sync.Mutex
	conns   []net.Conn
	swallow bool // takes what the client sends after its CONNECT and passes nothing on
	count   int  // connections so far
}

// newProxy stands before the broker at url.
func newProxy(t *testing.T, url string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, target: strings.TrimPrefix(url, "tcp://")}
	go p.serve()
	t.Cleanup(func() { l.Close(); p.cut() })
	return p
}

func (p *proxy) url() string { return "tcp://" + p.l.Addr().String() }

func (p *proxy) serve() {
	for {
		down, err := p.l.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", p.target)
		if err != nil {
			down.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, down, up)
		p.count++
		p.mu.Unlock()
		go p.up(up, down)
		go func() { _, _ = io.Copy(down, up); down.Close() }()
	}
}

// up carries what the client sends.
func (p *proxy) up(up, down net.Conn) {
	defer up.Close()
	b := make([]byte, 4096)
	for first := true; ; first = false {
		n, err := down.Read(b)
		p.mu.Lock()
		drop := p.swallow && !first
		p.mu.Unlock()
		if n > 0 && !drop {
			if _, err := up.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) set(f func(p *proxy)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// cut closes every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}
