package gateway

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/control"
	"badged/uplink"
	"badged/uplink/uplinktest"
)

// logIn has the gateway reach its broker as b says.
func (h *house) logIn(b uplink.Broker) {
	h.t.Helper()
	at, err := url.Parse(b.URL)
	if err != nil {
		h.t.Fatal(err)
	}
	to := &h.cfg.Broker
	to.URL, to.CA, to.Cert, to.Key, to.User, to.PasswordFile = at, b.CA, b.Cert, b.Key, b.User, b.PasswordFile
}

// startReceiver runs a backend that acknowledges until the test ends.
func (h *house) startReceiver(b backend.BrokerOpts) {
	h.t.Helper()
	r, err := backend.OpenReceiver(filepath.Join(h.dir, "records"), backend.ReceiverOpts{Ack: true})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, b) }()
	h.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			h.t.Errorf("receiver ended: %v", err)
		}
		r.Close()
	})
}

// The rights of the access list that ships are enough for the whole of it; that
// they give no more is tested beside it.
func TestWholeGatewayUnderTheRightsThatShip(t *testing.T) {
	for _, listener := range []string{"certificates.conf", "passwords.conf"} {
		t.Run(listener, func(t *testing.T) {
			s := uplinktest.StartShipped(t, filepath.Join("..", "..", "..", "mosquitto"), listener,
				"user gw-1\ntopic read badged/v1/lists/l-1/#\n")
			gateway, publisher, receiver, operator := s.As("gw-1"), s.As("publisher"), s.As("receiver"), s.As("operator")
			s.Stop() // so that it knows the passwords
			s.Run()
			h := newCommandedHouse(t, nowhere)
			h.broker = operator
			h.logIn(gateway)
			h.start()
			h.startReceiver(receiver)
			h.pushTo(publisher, "uid,account\n04A1B2C3,r-1\n30949AD1,r-2\n")
			h.eventually("the list", func(s control.Status) bool { return s.List.Version == 1 && s.List.State == "current" })
			began := h.decide("04A1B2C3")
			if began.Status != "Accepted" || began.TransactionID == "" {
				t.Fatalf("got %+v, want a start", began)
			}
			whole := func(s control.Status) bool { return s.Ledger.End > 1 && s.Ledger.Committed == s.Ledger.End }
			h.eventually("the ack of the start", whole)
			if r := h.order("stop", args{"station": "washer"}); !r.OK {
				t.Errorf("stop: got %+v, want ok", r)
			}
			h.eventually("the ack of the end", func(s control.Status) bool { return s.Stations[0].TransactionID == "" && whole(s) })
			h.pushTo(publisher, "uid,account,status\n04A1B2C3,r-1,\n30949AD1,r-2,Blocked\n")
			h.eventually("the delta", func(s control.Status) bool { return s.List.Version == 2 })
			s.Stop()
			h.eventually("the loss of the broker", func(s control.Status) bool { return !s.Broker.Connected })
			if got := h.decide("30949AD1"); got.Status != "Blocked" {
				t.Errorf("without a broker: got %+v, want Blocked", got)
			}
			s.Run()
			h.eventually("the broker back", func(s control.Status) bool { return s.Broker.Connected && s.List.State == "current" })
			h.pushTo(publisher, "uid,account\n04A1B2C3,r-1\n30949AD1,r-2\n")
			h.eventually("another delta", func(s control.Status) bool { return s.List.Version == 3 })
			var csv strings.Builder
			if err := (backend.CSV{Local: time.UTC}).Write(&csv, filepath.Join(h.dir, "records")); err != nil {
				t.Fatal(err)
			}
			if s := csv.String(); strings.Count(s, "\n") != 2 || !strings.Contains(s, began.TransactionID) || !strings.Contains(s, "Remote") {
				t.Errorf("got sessions\n%swant the one, ended from afar", s)
			}
		})
	}
}
