package uplink_test

import (
	"context"
	"testing"
	"time"

	"badged/session"
	"badged/uplink"
)

// jammed is an outbox whose database does not answer.
type jammed struct {
	*memory
	answer chan struct{}
}

func (j jammed) Unsent(ctx context.Context, n int) ([]session.Message, error) {
	<-j.answer
	return j.memory.Unsent(ctx, n)
}

func TestALoopThatHangsIsBusy(t *testing.T) {
	url := broker(t)
	o := opts(url, newMemory())
	j := jammed{o.Outbox.(*memory), make(chan struct{})}
	o.Outbox = j
	c := run(t, o)
	until(t, "the ledger's loop hangs", func() bool {
		what, d := c.Busy()
		return what == "ledger" && d > 50*time.Millisecond
	})
	close(j.answer)
	until(t, "all loops wait", func() bool { _, d := c.Busy(); return d == 0 && c.State().Connected })
}

func TestADeadBrokerKeepsNobodyBusy(t *testing.T) {
	o := opts("tcp://127.0.0.1:1", newMemory())
	o.RetryMin, o.RetryMax = time.Hour, time.Hour
	c := run(t, o)
	until(t, "an attempt has failed", func() bool { return c.State().Attempts > 0 })
	until(t, "the client waits", func() bool { _, d := c.Busy(); return d == 0 })
}

var _ uplink.Outbox = jammed{}
