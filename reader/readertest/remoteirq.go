package readertest

import (
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
)

// irqLook is how often a Remote's IRQ pin is looked at. A driver that resets the
// chip takes longer for that, so no edge goes by unseen.
const irqLook = 200 * time.Microsecond

// IRQPin stands for the chip's IRQ, which the socket does not carry: it looks at
// IRq of Status1Reg, in transfers of its own. So it knows requests, not levels:
// Read is low while there is one, as with IRqInv, and every new one is a falling
// edge. WaitForEdge with 0 looks once, with a negative time-out it waits until
// Halt. It works once the port is connected.
func (r *Remote) IRQPin() gpio.PinIn { return &remoteIRQ{r: r} }

type remoteIRQ struct {
	r *Remote

	mu      sync.Mutex
	pull    gpio.Pull
	edge    gpio.Edge
	request bool // as last seen
	halts   int
}

func (p *remoteIRQ) String() string         { return "IRQ" }
func (p *remoteIRQ) Name() string           { return "IRQ" }
func (p *remoteIRQ) Number() int            { return -1 }
func (p *remoteIRQ) Function() string       { return "In" }
func (p *remoteIRQ) DefaultPull() gpio.Pull { return gpio.Float }

// Pull implements gpio.PinIn.
func (p *remoteIRQ) Pull() gpio.Pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pull
}

// In implements gpio.PinIn.
func (p *remoteIRQ) In(pull gpio.Pull, edge gpio.Edge) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pull != gpio.PullNoChange {
		p.pull = pull
	}
	p.edge, p.request = edge, false
	p.halts++
	return nil
}

// Halt implements conn.Resource; it ends a wait.
func (p *remoteIRQ) Halt() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.halts++
	return nil
}

// Read implements gpio.PinIn.
func (p *remoteIRQ) Read() gpio.Level { return gpio.Level(!p.asks()) }

// asks tells whether the chip asks for an interrupt; one that cannot be reached
// does not.
func (p *remoteIRQ) asks() bool {
	in := make([]byte, 2)
	err := p.r.Tx([]byte{0x80 | status1Reg<<1, 0}, in)
	return err == nil && in[1]&0x10 != 0
}

// look tells whether there was an edge since the last look, and whether a wait
// that began at halts goes on.
func (p *remoteIRQ) look(halts int) (edge, on bool) {
	asks := p.asks()
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.request
	p.request = asks
	want := gpio.FallingEdge
	if was {
		want = gpio.RisingEdge
	}
	return was != asks && p.edge&want != 0, p.halts == halts
}

// WaitForEdge implements gpio.PinIn.
func (p *remoteIRQ) WaitForEdge(timeout time.Duration) bool {
	p.mu.Lock()
	halts := p.halts
	p.mu.Unlock()
	for end := time.Now().Add(timeout); ; time.Sleep(irqLook) {
		edge, on := p.look(halts)
		if edge || !on || timeout >= 0 && time.Now().After(end) {
			return edge
		}
	}
}
