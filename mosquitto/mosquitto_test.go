package mosquitto_test

import (
	"crypto/tls"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"badged/uplink"
	"badged/uplink/uplinktest"
)

// Beside the gateway that ships as an example: a second one with a list of its
// own, and a witness of everything.
const others = `
user gw-0007
topic read badged/v1/lists/bellevue-3/#
user witness
topic readwrite #
topic readwrite $SYS/#
`

var (
	leaves = []string{"online", "status", "events", "telemetry", "replies", "ack", "commands"}
	out    = leaves[:5] // what a gateway writes
	in     = leaves[5:] // what it reads
)

func gateway(id string, leaves ...string) (topics []string) {
	for _, l := range leaves {
		topics = append(topics, "badged/v1/gateways/"+id+"/"+l)
	}
	return topics
}

func both(leaves ...string) []string {
	return append(gateway("gw-0042", leaves...), gateway("gw-0007", leaves...)...)
}

func list(name string) []string {
	l := uplink.ListTopics(name)
	return []string{l.Head(), l.Keys(), l.Delta(2), l.Index(1), l.Chunk(1, 0)}
}

func lists() []string { return append(list("via-roma-12"), list("bellevue-3")...) }

// everything is all that there is to read and write, and more.
func everything() []string {
	return slices.Concat(both(leaves...), gateway("stranger", leaves...), lists(),
		[]string{"badged/v1/lists", "badged/v1/gateways/gw-0042", "badged/v1/gateways/gw-0042/events/1", "other"})
}

// rights are who may read and write what, and nothing else.
var rights = map[string]struct{ read, write []string }{
	"gw-0042":   {append(list("via-roma-12"), gateway("gw-0042", in...)...), gateway("gw-0042", out...)},
	"gw-0007":   {append(list("bellevue-3"), gateway("gw-0007", in...)...), gateway("gw-0007", out...)},
	"publisher": {append(lists(), "badged/v1/lists"), append(lists(), "badged/v1/lists")},
	"receiver": {
		append(both("events", "telemetry", "status", "online"), gateway("stranger", "events", "telemetry", "status", "online")...),
		append(both("ack"), gateway("stranger", "ack")...),
	},
	"operator": {
		append(both("status", "online", "replies"), gateway("stranger", "status", "online", "replies")...),
		append(both("commands"), gateway("stranger", "commands")...),
	},
	"stranger": {gateway("stranger", in...), gateway("stranger", out...)}, // let in, and in no block of acl
}

// listeners runs a test with each of the two ways to log in.
func listeners(t *testing.T, f func(*testing.T, *uplinktest.Shipped)) {
	for _, file := range []string{"certificates.conf", "passwords.conf"} {
		t.Run(file, func(t *testing.T) {
			s := uplinktest.StartShipped(t, ".", file, others)
			for who := range rights {
				s.As(who)
			}
			s.As("witness")
			s.Reload()
			f(t, s)
		})
	}
}

func try(t *testing.T, b uplink.Broker, s uplink.Session) (*uplink.Conn, error) {
	t.Helper()
	s.ConnectTimeout = time.Minute
	c, err := uplink.Dial(t.Context(), b, s)
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

// dial gets in as who, who says to be client id.
func dial(t *testing.T, s *uplinktest.Shipped, who string, o uplink.Session, topics ...string) *uplink.Conn {
	t.Helper()
	var c *uplink.Conn
	var err error
	for end := time.Now().Add(time.Minute); c == nil; time.Sleep(50 * time.Millisecond) { // a reload takes its time
		if c, err = try(t, s.As(who), o); err != nil && time.Now().After(end) {
			t.Fatalf("%s: %v", who, err)
		}
	}
	for some := range slices.Chunk(topics, 8) {
		if err := c.Subscribe(t.Context(), some...); err != nil {
			t.Fatalf("%s: %v", who, err)
		}
	}
	return c
}

func publish(t *testing.T, c *uplink.Conn, topic, payload string, retained bool) {
	t.Helper()
	if err := c.Publish(t.Context(), topic, retained, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

// until takes messages until one on the topic says "end", and returns the topics
// of those before it. An answer to a publish tells nothing: Mosquitto sends a
// PUBACK for what it drops.
func until(t *testing.T, c *uplink.Conn, topic string) []string {
	t.Helper()
	came := map[string]bool{}
	late := time.After(time.Minute)
	for {
		select {
		case m := <-c.Messages():
			m.Ack()
			if m.Topic == topic && string(m.Payload) == "end" {
				return slices.Sorted(maps.Keys(came))
			}
			came[m.Topic] = true
		case <-c.Lost():
			t.Fatal(c.Err())
		case <-late:
			t.Fatalf("got nothing on %s in a minute", topic)
		}
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	want = slices.Sorted(slices.Values(want))
	for _, topic := range slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(got), want...)))) {
		if is, may := slices.Contains(got, topic), slices.Contains(want, topic); is != may {
			t.Errorf("%s %s: got %t, want %t", what, topic, is, may)
		}
	}
}

func TestEverybodyWritesTheirOwnAndNothingElse(t *testing.T) {
	listeners(t, func(t *testing.T, s *uplinktest.Shipped) {
		witness := dial(t, s, "witness", uplink.Session{ClientID: "witness", Buffer: 10_000}, "#")
		for who, may := range rights {
			c := dial(t, s, who, uplink.Session{ClientID: who})
			for _, topic := range everything() {
				publish(t, c, topic, "", false)
				publish(t, c, topic, "from "+who, true)
			}
			publish(t, c, may.write[0], "end", false)
			same(t, who+" writes", until(t, witness, may.write[0]), may.write)
		}
	})
}

func TestEverybodyReadsTheirOwnAndNothingElse(t *testing.T) {
	listeners(t, func(t *testing.T, s *uplinktest.Shipped) {
		witness := dial(t, s, "witness", uplink.Session{ClientID: "witness"})
		for _, topic := range everything() {
			publish(t, witness, topic, "kept", true)
		}
		for who, may := range rights {
			for how, filters := range map[string][]string{
				"by name":      append(everything(), "$SYS/broker/version"),
				"by wildcards": {"#", "$SYS/#", "badged/v1/gateways/+/+", "badged/v1/lists/#"},
			} {
				c := dial(t, s, who, uplink.Session{ClientID: who, Buffer: 10_000}, filters...)
				publish(t, witness, may.read[0], "end", false)
				same(t, who+" reads "+how, until(t, c, may.read[0]), may.read)
				for _, topic := range everything() {
					publish(t, witness, topic, "live", false)
				}
				publish(t, witness, may.read[0], "end", false)
				same(t, who+" reads live "+how, until(t, c, may.read[0]), may.read)
				c.Close()
			}
		}
	})
}

func TestNobodyTakesOverAnID(t *testing.T) {
	listeners(t, func(t *testing.T, s *uplinktest.Shipped) {
		commands := gateway("gw-0042", "commands")[0]
		victim := dial(t, s, "gw-0042", uplink.Session{ClientID: "gw-0042"}, commands)
		for _, resume := range []bool{false, true} {
			thief := dial(t, s, "gw-0007", uplink.Session{ClientID: "gw-0042", Resume: resume}, commands)
			operator := dial(t, s, "operator", uplink.Session{ClientID: "operator"})
			publish(t, operator, commands, "for the victim", false)
			publish(t, operator, commands, "end", false)
			same(t, "the victim gets", until(t, victim, commands), []string{commands})
			ack := gateway("gw-0007", "ack")[0]
			if err := thief.Subscribe(t.Context(), ack); err != nil {
				t.Fatal(err)
			}
			publish(t, dial(t, s, "receiver", uplink.Session{ClientID: "gw-0042"}), ack, "end", false)
			same(t, "the thief gets", until(t, thief, ack), nil)
			thief.Close()
		}
		if err := victim.Err(); err != nil {
			t.Errorf("got the victim's %v, want it to stay connected", err)
		}
	})
}

// A second connection of a user ends the first, and with it comes the first's will.
func TestNobodyLeavesAWillForAnother(t *testing.T) {
	listeners(t, func(t *testing.T, s *uplinktest.Shipped) {
		witness := dial(t, s, "witness", uplink.Session{ClientID: "witness"}, "badged/#")
		for _, tc := range []struct {
			of   string
			want []string
		}{{"gw-0007", nil}, {"gw-0042", gateway("gw-0042", "online")}} {
			will := uplink.Session{ClientID: tc.of, WillTopic: gateway("gw-0042", "online")[0], Will: []byte("away")}
			if c, err := try(t, s.As(tc.of), will); err == nil {
				dial(t, s, tc.of, uplink.Session{ClientID: "again"})
				select {
				case <-c.Lost():
				case <-time.After(time.Minute):
					t.Fatal("got two connections of one user")
				}
			}
			events := gateway(tc.of, "events")[0]
			publish(t, dial(t, s, tc.of, uplink.Session{ClientID: "again"}), events, "end", false)
			same(t, "the will of "+tc.of+" to", until(t, witness, events), tc.want)
		}
	})
}

func TestWhoIsNotKnownStaysOutside(t *testing.T) {
	s := uplinktest.StartShipped(t, ".", "certificates.conf", others)
	known := s.As("gw-0042")
	foreign := uplinktest.StartShipped(t, ".", "certificates.conf", others).As("gw-0042")
	none, other := known, known
	none.Cert, none.Key = "", ""
	none.User = "gw-0042"
	other.Cert, other.Key = foreign.Cert, foreign.Key
	for what, b := range map[string]uplink.Broker{"no certificate": none, "a certificate of another authority": other} {
		if _, err := try(t, b, uplink.Session{ClientID: "gw-0042"}); err == nil {
			t.Errorf("%s: got in, want it refused", what)
		}
	}
	old, err := tls.LoadX509KeyPair(known.Cert, known.Key)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{old}, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", strings.TrimPrefix(known.URL, "tls://"), c); err == nil {
		conn.Close()
		t.Error("TLS 1.1: got in, want it refused")
	}
	dial(t, s, "gw-0042", uplink.Session{ClientID: "gw-0042"})

	s.As("gw-0007")
	s.Revoke("gw-0042")
	s.Stop()
	s.Run()
	if _, err := try(t, known, uplink.Session{ClientID: "gw-0042"}); err == nil {
		t.Error("a revoked certificate: got in, want it refused")
	}
	dial(t, s, "gw-0007", uplink.Session{ClientID: "gw-0007"})
}

func TestWrongPasswordsStayOutside(t *testing.T) {
	s := uplinktest.StartShipped(t, ".", "passwords.conf", others)
	right, of7 := s.As("gw-0042"), s.As("gw-0007")
	s.Reload()
	dial(t, s, "gw-0042", uplink.Session{ClientID: "gw-0042"})
	wrong, none, nobody := right, right, right
	wrong.PasswordFile = of7.PasswordFile
	none.PasswordFile = ""
	nobody.User, nobody.PasswordFile = "", ""
	for what, b := range map[string]uplink.Broker{"another's password": wrong, "no password": none, "no user": nobody} {
		if _, err := try(t, b, uplink.Session{ClientID: "gw-0042"}); !errors.Is(err, uplink.ErrCredentials) {
			t.Errorf("%s: got %v, want the credentials refused", what, err)
		}
	}
}

// Rights that are taken back count after a reload, for who is connected too.
func TestReloadTakesRightsBack(t *testing.T) {
	listeners(t, func(t *testing.T, s *uplinktest.Shipped) {
		head, ack := uplink.ListTopics("bellevue-3").Head(), gateway("gw-0007", "ack")[0]
		c := dial(t, s, "gw-0007", uplink.Session{ClientID: "gw-0007"}, head, ack)
		witness := dial(t, s, "witness", uplink.Session{ClientID: "witness"})
		reads := func() bool {
			publish(t, witness, head, "a head", false)
			publish(t, witness, ack, "end", false)
			return len(until(t, c, ack)) > 0
		}
		if !reads() {
			t.Error("before: got nothing of the list, want the head")
		}
		s.SetACL(strings.ReplaceAll(others, "topic read badged/v1/lists/bellevue-3/#", ""))
		s.Reload()
		for end := time.Now().Add(time.Minute); reads(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a minute after the reload: got the list still")
			}
		}
	})
}

// What is too long ends the connection of who sent it, nobody else's.
func TestPacketsAreBounded(t *testing.T) {
	s := uplinktest.StartShipped(t, ".", "certificates.conf", others)
	witness := dial(t, s, "witness", uplink.Session{ClientID: "witness"}, "badged/#")
	c := dial(t, s, "gw-0042", uplink.Session{ClientID: "gw-0042"})
	topic := gateway("gw-0042", "status")[0]
	if err := c.Publish(t.Context(), topic, true, make([]byte, 200_000)); err == nil {
		t.Error("200,000 bytes: got taken, want the connection ended")
	}
	publish(t, dial(t, s, "gw-0042", uplink.Session{ClientID: "gw-0042"}), topic, "end", false)
	same(t, "the witness gets", until(t, witness, topic), nil)
	publish(t, dial(t, s, "publisher", uplink.Session{ClientID: "p"}), uplink.ListTopics("l").Head(), string(make([]byte, 48<<10)), true)
}

// What was retained and queued survives the broker's end in good order.
func TestNothingIsLostInARestart(t *testing.T) {
	s := uplinktest.StartShipped(t, ".", "certificates.conf", others)
	events, head := gateway("gw-0042", "events")[0], uplink.ListTopics("via-roma-12").Head()
	dial(t, s, "receiver", uplink.Session{ClientID: "receiver", Resume: true}, uplink.AllEvents).Close()
	g := dial(t, s, "gw-0042", uplink.Session{ClientID: "gw-0042"})
	const n = 3000 // thrice what Mosquitto queues of itself
	for range n {
		publish(t, g, events, "record", false)
	}
	publish(t, dial(t, s, "publisher", uplink.Session{ClientID: "p"}), head, "a head", true)
	s.Stop()
	s.Run()
	r := dial(t, s, "receiver", uplink.Session{ClientID: "receiver", Resume: true, Buffer: 2 * n})
	for i := range n {
		select {
		case m := <-r.Messages():
			m.Ack()
		case <-time.After(time.Minute):
			t.Fatalf("got %d records, want %d", i, n)
		}
	}
	c := dial(t, s, "gw-0042", uplink.Session{ClientID: "gw-0042"}, head)
	if m := <-c.Messages(); string(m.Payload) != "a head" {
		t.Errorf("got %q, want the head", m.Payload)
	}
}
