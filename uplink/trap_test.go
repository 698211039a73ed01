package uplink_test

import (
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"badged/uplink"
)

// The control of T2: through the same proxy a client that may reconnect is told
// that messages were sent which nobody received. If this fails, paho has
// changed and Conn may be made simpler.
func TestT2_AClientThatReconnectsIsDeceived(t *testing.T) {
	url := broker(t)
	p := newProxy(t, url)
	backend := dial(t, url, "backend", uplink.AllEvents)
	up := make(chan struct{}, 10)
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(p.url()).SetClientID("naive").SetAutoReconnect(true).
		SetOnConnectHandler(func(mqtt.Client) { up <- struct{}{} }))
	defer c.Disconnect(0)
	if token := c.Connect(); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	<-up
	p.set(func(p *proxy) { p.swallow = true })
	var tokens []mqtt.Token
	for range 50 {
		tokens = append(tokens, c.Publish(uplink.GatewayTopics("naive").Events(), 1, false, "lost"))
	}
	p.cut()
	<-up
	deceived := 0
	for _, token := range tokens {
		if token.Wait() && token.Error() == nil {
			deceived++
		}
	}
	if got := len(backend.Messages()); deceived < 40 || got != 0 {
		t.Errorf("got %d successes for %d messages received, want most of 50 for none", deceived, got)
	}
}

// The deception needs a client that may reconnect. Ours may not: through a proxy
// that only cuts, its tokens would be true by luck.
func TestT2_ConnNeverReconnects(t *testing.T) {
	c := dial(t, broker(t), "ours", uplink.AllEvents)
	if uplink.MayReconnect(c) {
		t.Error("got a connection that paho may make again, want one that stays lost")
	}
}
