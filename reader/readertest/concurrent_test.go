package readertest_test

import (
	"sync"
	"testing"
	"time"

	"badged/reader/readertest"
)

// Everything but the bus may be used from anywhere, and an At function from
// within a transfer; the race detector judges.
func TestWorldAndDriverMeet(t *testing.T) {
	b := connect(t, readertest.New(readertest.Opts{}))
	b.setUp()
	var wg sync.WaitGroup
	for range 4 {
		c := card(t, "classic-1k")
		wg.Go(func() {
			for i := range 100 {
				b.Put(c)
				b.At(b.Now()+time.Millisecond, func() { b.Remove(c); _ = b.Now() })
				b.Inject(readertest.Fault{Kind: readertest.FaultNoise, Count: 3, Seed: uint64(i)})
				_, _ = b.Stats(), b.Violations()
				b.Clear()
			}
		})
	}
	for range 200 {
		b.send("52", 7)
		b.received()
	}
	wg.Wait()
}

func TestEdgeInRealTime(t *testing.T) {
	b := connect(t, readertest.New(readertest.Opts{RealTime: true}))
	pin := b.IRQPin()
	pin.In(3, 2)
	if pin.WaitForEdge(0) || pin.WaitForEdge(time.Millisecond) {
		t.Error("got an edge from a chip that does nothing")
	}
	got := make(chan bool)
	go func() { got <- pin.WaitForEdge(10 * time.Second) }()
	b.batch("08 7F|04 81|54 00|56 A9|5A 63|18 40") // TimerIRq in 2.5 ms
	if !<-got {
		t.Error("got no edge, want TimerIRq")
	}
	go func() { got <- pin.WaitForEdge(-1) }()
	for done := false; !done; {
		pin.Halt() // may come before the wait; then once more
		select {
		case edge := <-got:
			if edge {
				t.Error("got an edge after Halt, want none")
			}
			done = true
		default:
		}
	}
}
