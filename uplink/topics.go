package uplink

import (
	"fmt"
	"strconv"
	"strings"
)

// AllEvents is the filter by which a backend gets the events of every gateway
// that it may read.
const AllEvents = "badged/v1/gateways/+/events"

const (
	listPrefix    = "badged/v1/lists/"
	gatewayPrefix = "badged/v1/gateways/"
)

// CheckID tells whether s may stand in a topic: [a-z0-9-]{1,64}.
func CheckID(s string) error {
	if len(s) == 0 || len(s) > 64 {
		return fmt.Errorf("id of %d characters, want 1 to 64", len(s))
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') }); i >= 0 {
		return fmt.Errorf("id %q: only a-z, 0-9 and - may stand in it", s)
	}
	return nil
}

// ListTopics makes the topics of the list of that name.
type ListTopics string

// Head is the topic of the list's signed head.
func (l ListTopics) Head() string { return listPrefix + string(l) + "/head" }

// Keys is the topic of the list's key set, signed by a root.
func (l ListTopics) Keys() string { return listPrefix + string(l) + "/keys" }

// Delta is the topic of the delta that leads to version v.
func (l ListTopics) Delta(v uint64) string {
	return listPrefix + string(l) + "/delta/" + strconv.FormatUint(v, 10)
}

// Index is the topic of the index of the snapshot of version v.
func (l ListTopics) Index(v uint64) string { return l.snapshot(v) + "/index" }

// Chunk is the topic of chunk n, from 0, of the snapshot of version v.
func (l ListTopics) Chunk(v uint64, n int) string { return l.snapshot(v) + "/" + strconv.Itoa(n) }

func (l ListTopics) snapshot(v uint64) string {
	return listPrefix + string(l) + "/snapshot/" + strconv.FormatUint(v, 10)
}

// Everything is the filter that matches all topics of the list.
func (l ListTopics) Everything() string { return listPrefix + string(l) + "/#" }

func (l ListTopics) owns(topic string) bool {
	return strings.HasPrefix(topic, listPrefix+string(l)+"/")
}

// GatewayTopics makes the topics of the gateway of that id.
type GatewayTopics string

func (g GatewayTopics) leaf(name string) string { return gatewayPrefix + string(g) + "/" + name }

// Online is retained and the connection's last will: {"online": bool}.
func (g GatewayTopics) Online() string { return g.leaf("online") }

// Status is retained: what the gateway says of itself.
func (g GatewayTopics) Status() string { return g.leaf("status") }

// Events carries the ledger, one record a message.
func (g GatewayTopics) Events() string { return g.leaf("events") }

// Telemetry carries what may be lost.
func (g GatewayTopics) Telemetry() string { return g.leaf("telemetry") }

// Ack is retained: how far the backend has committed the ledger.
func (g GatewayTopics) Ack() string { return g.leaf("ack") }

// Commands carries signed commands to the gateway.
func (g GatewayTopics) Commands() string { return g.leaf("commands") }

// Replies carries the answers to commands.
func (g GatewayTopics) Replies() string { return g.leaf("replies") }

// GatewayOf takes a gateway's topic apart; ok is false for any other topic.
func GatewayOf(topic string) (id, leaf string, ok bool) {
	rest, ok := strings.CutPrefix(topic, gatewayPrefix)
	if !ok {
		return "", "", false
	}
	id, leaf, ok = strings.Cut(rest, "/")
	return id, leaf, ok && CheckID(id) == nil && leaf != "" && !strings.Contains(leaf, "/")
}
