package backend_test

import (
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"badged/session"
	"badged/uplink"
	"badged/uplink/uplinktest"
)

// BenchmarkDrain sends what has piled up while a gateway was offline: its ledger from
// SQLite, with the mark of what was taken written durably; and beside it the same
// messages from memory by a bare paho client, with as many in flight.
func BenchmarkDrain(b *testing.B) {
	const records = 2000
	for _, kind := range []string{"mochi", "mosquitto"} {
		b.Run(kind+"/ledger", func(b *testing.B) {
			at := uplinktest.Start(b, kind).Broker()
			s := openSite(b, b.TempDir())
			for b.Loop() {
				b.StopTimer()
				s.pile(records)
				b.StartTimer()
				began := time.Now()
				_, stop := s.connect(at, func(*uplink.Opts) {})
				until(b, "all is taken", func() bool { o := s.outbox(); return o.Taken == o.End })
				b.ReportMetric(records/time.Since(began).Seconds(), "records/s")
				b.StopTimer()
				stop()
				b.StartTimer()
			}
		})
		b.Run(kind+"/bare", func(b *testing.B) {
			at := uplinktest.Start(b, kind).Broker()
			s := openSite(b, b.TempDir())
			s.pile(records)
			messages, err := s.ledger.Unsent(b.Context(), records)
			if err != nil {
				b.Fatal(err)
			}
			c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(at.URL).SetClientID("bare").SetAutoReconnect(false))
			if t := c.Connect(); t.Wait() && t.Error() != nil {
				b.Fatal(t.Error())
			}
			defer c.Disconnect(100)
			for b.Loop() {
				began := time.Now()
				var flying []mqtt.Token
				for _, m := range messages {
					if len(flying) == 20 {
						flying[0].Wait()
						flying = flying[1:]
					}
					flying = append(flying, c.Publish(uplink.GatewayTopics("bare").Events(), 1, false, uplink.EventMessage(m)))
				}
				for _, t := range flying {
					t.Wait()
				}
				b.ReportMetric(float64(len(messages))/time.Since(began).Seconds(), "records/s")
			}
		})
	}
}

// pile commits n records in one flush.
func (s *site) pile(n int) {
	s.t.Helper()
	var c session.Commit
	for range n {
		c.Records = append(c.Records, session.TransactionEvent{EventType: session.Updated, TransactionID: "6f1e0000-0000-4000-8000-000000000000",
			TriggerReason: session.TriggerMeterClock, Station: "garage-17", Kind: session.Charging, Account: "r-1042", UID: "00112233445566778899aabbccddeeff"})
	}
	if err := s.ledger.Commit(s.t.Context(), c); err != nil {
		s.t.Fatal(err)
	}
}
