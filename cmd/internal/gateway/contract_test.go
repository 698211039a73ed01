package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/control"
	"badged/uplink"
)

// contract is the written contract: a schema for every message, by name.
type contract map[string]*jsonschema.Schema

const contractFile = "../../../docs/asyncapi.yaml"

// readContract compiles the schemas. Members that a schema does not name are errors
// here, though receivers ignore them: what is sent is to be written down.
func readContract(t *testing.T) contract {
	t.Helper()
	b, err := os.ReadFile(contractFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	closeObjects(t, doc)
	b, err = json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7) // AsyncAPI 3.0, Schema Object
	c.AssertFormat()
	if err := c.AddResource("contract.json", plain); err != nil {
		t.Fatal(err)
	}
	schemas := contract{}
	for name := range doc["components"].(map[string]any)["schemas"].(map[string]any) {
		if schemas[name], err = c.Compile("contract.json#/components/schemas/" + name); err != nil {
			t.Fatal(err)
		}
	}
	return schemas
}

// closeObjects forbids what is not named. A null is a comma that wants quotes.
func closeObjects(t *testing.T, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		_, named := v["properties"]
		if _, said := v["additionalProperties"]; v["type"] == "object" && named && !said {
			v["additionalProperties"] = false
		}
		for name, child := range v {
			if child == nil {
				t.Errorf("%s: member %q has no value", contractFile, name)
			}
			closeObjects(t, child)
		}
	case []any:
		for _, child := range v {
			closeObjects(t, child)
		}
	}
}

// kinds are the messages by topic, and how to get at their JSON.
var kinds = []struct {
	topic  *regexp.Regexp
	schema string
	open   func([]byte) ([]byte, error)
}{
	{regexp.MustCompile(`/head$`), "head", carriedByJWS},
	{regexp.MustCompile(`/keys$`), "keys", carriedByJWS},
	{regexp.MustCompile(`/delta/\d+$`), "delta", inflated},
	{regexp.MustCompile(`/snapshot/\d+/index$`), "index", inflated},
	{regexp.MustCompile(`/snapshot/\d+/\d+$`), "chunk", inflated},
	{regexp.MustCompile(`/online$`), "online", asItIs},
	{regexp.MustCompile(`/status$`), "status", asItIs},
	{regexp.MustCompile(`/events$`), "event", asItIs},
	{regexp.MustCompile(`/telemetry$`), "telemetry", asItIs},
	{regexp.MustCompile(`/ack$`), "ack", asItIs},
	{regexp.MustCompile(`/commands$`), "command", carriedByJWS},
	{regexp.MustCompile(`/replies$`), "reply", asItIs},
}

func asItIs(b []byte) ([]byte, error) { return b, nil }

func carriedByJWS(b []byte) ([]byte, error) {
	parts := strings.Split(string(b), ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("JWS of %d parts", len(parts))
	}
	return base64.RawURLEncoding.DecodeString(parts[1])
}

func inflated(b []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// check says what a message is, and what the contract has against it.
func (c contract) check(topic string, payload []byte) (kind string, err error) {
	for _, k := range kinds {
		if !k.topic.MatchString(topic) {
			continue
		}
		b, err := k.open(payload)
		if err != nil {
			return k.schema, err
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return k.schema, err
		}
		var is struct{ Record struct{ Type string } }
		_ = json.Unmarshal(b, &is) // only events have one
		if err := c[k.schema].Validate(v); err != nil {
			return k.schema, fmt.Errorf("%w\n%s", err, b)
		}
		return k.schema + is.Record.Type, nil
	}
	return "", fmt.Errorf("topic %s is not in the contract", topic)
}

// Whatever a gateway, a publisher and a backend say to each other is in the
// contract, and all that is in the contract is said.
func TestEveryMessageKeepsTheContract(t *testing.T) {
	c := readContract(t)
	h := newCommanded(t)
	all, err := uplink.Dial(t.Context(), h.broker, uplink.Session{ClientID: "listener", Buffer: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	if err := all.Subscribe(t.Context(), "badged/#"); err != nil {
		t.Fatal(err)
	}
	h.receive()
	h.push(h.broker.URL, "uid,account,status,origin,role,services,stations,validFrom,language\n"+
		"04A1B2C3,r-1,Accepted,issued,user,laundry;charging,washer,2026-01-01T00:00:00Z,it\n30949AD1,r-2,Blocked,,,,,,\n")
	h.eventually("the second version", func(s control.Status) bool { return s.List.Version == 2 })
	h.decide("04A1B2C3") // starts
	h.decide("30949AD1") // is refused
	h.order("start", args{"station": "washer", "uid": "04A1B2C3"})
	h.order("stop", args{"station": "washer"})
	h.order("stop", args{"station": "dryer"})

	want := []string{"ack", "chunk", "command", "delta", "eventLedgerOpened", "eventTransactionEvent", "head", "index", "online", "reply", "status", "telemetry"}
	seen := map[string]int{}
	end := time.After(time.Minute)
	for missing := want; len(missing) > 0; {
		select {
		case m := <-all.Messages():
			m.Ack()
			kind, err := c.check(m.Topic, m.Payload)
			if err != nil {
				t.Errorf("%s: %v", m.Topic, err)
			}
			seen[kind]++
			missing = slices.DeleteFunc(slices.Clone(want), func(k string) bool { return seen[k] > 0 })
		case <-end:
			t.Fatalf("got %v, want %v too", slices.Sorted(maps.Keys(seen)), missing)
		}
	}
	for len(all.Messages()) > 0 {
		m := <-all.Messages()
		if _, err := c.check(m.Topic, m.Payload); err != nil {
			t.Errorf("%s: %v", m.Topic, err)
		}
	}
}

// receive runs a small backend that acknowledges.
func (h *commanded) receive() {
	h.t.Helper()
	r, err := backend.OpenReceiver(filepath.Join(h.dir, "backend"), backend.ReceiverOpts{Ack: true})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, h.broker) }()
	h.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			h.t.Errorf("backend ended: %v", err)
		}
		r.Close()
	})
}

// The schemas refuse what the contract forbids: they are no rubber stamp.
func TestTheContractRefuses(t *testing.T) {
	c := readContract(t)
	for name, m := range map[string]struct{ topic, payload string }{
		"an ack without a hash":        {"x/ack", `{"ledger":"l1","upTo":1}`},
		"an ack that counts backwards": {"x/ack", `{"ledger":"l1","upTo":-1,"hash":""}`},
		"a member not written down":    {"x/online", `{"online":true,"mood":"fine"}`},
		"a record of unknown shape":    {"x/events", `{"v":1,"ledger":"l1","seq":1,"hash":"` + strings.Repeat("0", 64) + `","record":{"type":"ClockAnchor","ledger":"l1","seq":1,"prev":"` + strings.Repeat("0", 64) + `"}}`},
		"a reply to nothing":           {"x/replies", `{"ok":true}`},
		"a topic of nobody":            {"x/gossip", `{}`},
	} {
		if _, err := c.check(m.topic, []byte(m.payload)); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}
