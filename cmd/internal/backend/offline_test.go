package backend_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"badged/cache"
	"badged/cmd/internal/backend"
	"badged/session"
	"badged/uplink"
)

// T5: a gateway comes back after weeks offline, with more records than Mosquitto
// keeps for a backend that is away (max_queued_messages, 1000). The broker takes
// them all and drops the rest without a word; that the backend's acknowledgement
// stands still brings them back.
func TestT5_MoreRecordsThanTheBrokerKeeps(t *testing.T) {
	const n = 1200
	dir := t.TempDir()
	b := backend.BrokerOpts{URL: "tcp://" + mosquitto(t).String()}
	ledger, err := cache.OpenLedger(filepath.Join(dir, "ledger.db"), cache.LedgerOpts{Gateway: "gw-1",
		Stamp: func() session.Stamp { return session.Stamp{BootID: "b", Clock: session.ClockUnknown} }})
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	list, err := cache.OpenList(filepath.Join(dir, "list.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	var c session.Commit
	for i := range n {
		at := session.Stamp{BootID: "b", Up: time.Duration(i) * time.Hour, Clock: session.ClockUnknown}
		c.Records = append(c.Records, session.TransactionEvent{EventType: session.Updated, TransactionID: "t", SeqNo: i, At: at})
	}
	if err := ledger.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	receive := func() (stop func()) {
		r, err := backend.OpenReceiver(filepath.Join(dir, "records"), backend.ReceiverOpts{Ack: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx, b) }()
		return func() {
			cancel()
			<-done
			r.Close()
		}
	}
	outbox := func() session.Outbox {
		o, err := ledger.Outbox(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return o
	}

	// The backend has been there once, so the broker keeps what comes meanwhile.
	stop := receive()
	time.Sleep(time.Second)
	stop()
	client, err := uplink.New(uplink.Opts{Gateway: "gw-1", Broker: b, List: "desk", Outbox: ledger, Store: list, Ratchet: ledger,
		AckTimeout: 2 * time.Second}) // for the hour that an acknowledgement may stand still
	if err != nil {
		t.Fatal(err)
	}
	background(t, client.Run)
	until(t, "the broker has taken everything", func() bool { o := outbox(); return o.Taken == n+1 && o.Committed == 0 })
	stop = receive()
	defer stop()
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		o := outbox()
		if o.Committed == n+1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("got %+v, want the backend to have all %d", o, n+1)
		}
	}
}
