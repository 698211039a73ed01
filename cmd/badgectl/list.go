package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/config"
	"badged/session"
	"badged/uplink"
)

type listCmd struct {
	Keygen listKeygenCmd `cmd:"" help:"Make a key that signs lists."`
	Push   listPushCmd   `cmd:"" help:"Make a CSV the list of badges."`
	Show   listShowCmd   `cmd:"" help:"Show the list's signed head on the broker."`
	Verify listVerifyCmd `cmd:"" help:"Check all of the list on the broker, as a gateway would."`
	Watch  listWatchCmd  `cmd:"" help:"Sign the head daily, and send what the broker lost."`

	Explain listExplainCmd `cmd:"" help:"Say what would happen to a badge, and why."`
	Compact listCompactCmd `cmd:"" help:"Make a new snapshot, so that newcomers have less to fetch."`
	Rotate  listRotateCmd  `cmd:"" help:"Make another key the one that signs the list, at every gateway, without a visit."`
}

// brokerFlags are those of every verb that talks to a broker.
type brokerFlags struct {
	Broker string `required:"" placeholder:"URL" help:"Such as tls://broker.example.org:8883."`
	brokerAccess
}

func (f brokerFlags) broker() backend.BrokerOpts { return f.to(f.Broker) }

// optionalBroker are those of a verb that also works without one.
type optionalBroker struct {
	Broker string `placeholder:"URL" help:"Such as tls://broker.example.org:8883."`
	brokerAccess
}

func (f optionalBroker) broker() backend.BrokerOpts { return f.to(f.Broker) }

type brokerAccess struct {
	CA           string `name:"ca" placeholder:"F" help:"Authorities that sign the broker's certificate."`
	Cert         string `placeholder:"F" help:"Client certificate."`
	Key          string `placeholder:"F" help:"Its key."`
	User         string `placeholder:"U" help:"User name."`
	PasswordFile string `placeholder:"F" help:"File with the password."`
}

func (f brokerAccess) to(url string) backend.BrokerOpts {
	return backend.BrokerOpts{URL: url, CA: f.CA, Cert: f.Cert, Key: f.Key, User: f.User, PasswordFile: f.PasswordFile}
}

type listKeygenCmd struct {
	Out  string `default:"." placeholder:"DIR" help:"Folder for list-key.jwk and list-keys.jwks."`
	Kind string `default:"list" enum:"list,command,root" help:"What the key signs: lists, commands, or, as a root, who may sign those."`
}

// Run makes the two files.
func (c *listKeygenCmd) Run(e *env) error {
	return map[string]func(*env, string) error{"list": listKeygen, "command": commandKeygen, "root": rootKeygen}[c.Kind](e, c.Out)
}

func listKeygen(e *env, dir string) error {
	if err := backend.Keygen(dir); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s signs lists: keep it secret\n%s goes to the gateways\n",
		filepath.Join(dir, backend.KeyFile), filepath.Join(dir, backend.KeysFile))
	return nil
}

func rootKeygen(e *env, dir string) error {
	if err := backend.RootKeygen(dir); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s replaces list and command keys: keep it secret and offline\n%s goes to the gateways, as list.root_keys\n",
		filepath.Join(dir, backend.RootKeyFile), filepath.Join(dir, backend.RootKeysFile))
	return nil
}

// checkFlags are those of the verbs that only read.
type checkFlags struct {
	brokerFlags
	List string `required:"" placeholder:"NAME" help:"Name of the list."`
	trustFlags
}

// trustFlags say whom a gateway trusts.
type trustFlags struct {
	Keys  string `placeholder:"KEYS.jwks" help:"Who may sign it: what gateways pin."`
	Roots string `placeholder:"ROOTS.jwks" help:"Root keys that gateways pin: who may replace those of --keys."`
}

// or takes from a gateway's config what no flag says.
func (f trustFlags) or(c config.List) trustFlags {
	if f.Keys == "" && f.Roots == "" {
		return trustFlags{c.Keys, c.Roots}
	}
	return f
}

// keys are those that may sign the list now.
func (f trustFlags) keys(ctx context.Context, b backend.BrokerOpts, list string) (keys jose.JSONWebKeySet, err error) {
	if f.Keys == "" && f.Roots == "" {
		return keys, errors.New("nobody to trust\nhint: --keys KEYS.jwks says who may sign the list, --roots ROOTS.jwks who may replace them")
	}
	if f.Keys != "" {
		if keys, err = backend.ReadKeys(f.Keys); err != nil {
			return keys, err
		}
	}
	if f.Roots == "" {
		return keys, nil
	}
	roots, err := backend.ReadKeys(f.Roots)
	if err != nil {
		return keys, err
	}
	keys, _, err = backend.KeysNow(ctx, b, list, keys, roots)
	return keys, err
}

type listShowCmd struct{ checkFlags }

// Run reads the head.
func (c *listShowCmd) Run(e *env) error {
	keys, err := c.keys(e.ctx, c.broker(), c.List)
	if err != nil {
		return err
	}
	h, err := backend.Show(e.ctx, c.broker(), c.List, keys)
	if err != nil {
		return err
	}
	return e.print(h, func(w io.Writer) { printHead(w, h) })
}

func printHead(w io.Writer, h uplink.Head) {
	fmt.Fprintf(w, "%s version %d.%d, %d badges, signed %s\n", h.List, h.Epoch, h.Version, h.Count, h.IssuedAt.Local().Format(time.DateTime))
	fmt.Fprintf(w, "  digest    %s\n  deltas    from version %d\n  snapshot  of version %d\n", h.Digest, h.DeltasFrom, h.Snapshot.Version)
}

type listVerifyCmd struct{ checkFlags }

// Run fetches and checks everything.
func (c *listVerifyCmd) Run(e *env) error {
	keys, err := c.keys(e.ctx, c.broker(), c.List)
	if err != nil {
		return err
	}
	h, entries, err := backend.Verify(e.ctx, c.broker(), c.List, keys)
	if err != nil {
		return err
	}
	return e.print(h, func(w io.Writer) {
		printHead(w, h)
		fmt.Fprintf(w, "verified: signature, every digest, and %d badges: %s\n", len(entries), statuses(entries))
	})
}

func statuses(entries []session.Entry) string {
	n := map[session.Status]int{}
	for _, x := range entries {
		n[x.Status]++
	}
	var parts []string
	for _, s := range []session.Status{session.Accepted, session.Blocked, session.Expired, session.Invalid} {
		if n[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[s], s))
		}
	}
	return strings.Join(parts, ", ")
}
