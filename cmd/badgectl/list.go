package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"badged/cmd/internal/backend"
	"badged/session"
	"badged/uplink"
)

type listCmd struct {
	Keygen listKeygenCmd `cmd:"" help:"Make a key that signs lists."`
	Push   listPushCmd   `cmd:"" help:"Make a CSV the list of badges."`
	Show   listShowCmd   `cmd:"" help:"Show the list's signed head on the broker."`
	Verify listVerifyCmd `cmd:"" help:"Check all of the list on the broker, as a gateway would."`
	Watch  listWatchCmd  `cmd:"" help:"Sign the head daily, and send what the broker lost."`
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

// storeFlags are those of the publisher's verbs.
type storeFlags struct {
	brokerFlags
	List  string `required:"" placeholder:"NAME" help:"Name of the list."`
	Sign  string `required:"" placeholder:"KEY.jwk" help:"Key that signs it."`
	Store string `placeholder:"DIR" help:"The publisher's own folder, the truth about its lists (default: badgectl/lists under $$XDG_STATE_HOME or ~/.local/state)."`
}

func (f storeFlags) open() (*backend.Publisher, error) {
	key, err := backend.ReadKey(f.Sign)
	if err != nil {
		return nil, err
	}
	dir := f.Store
	if dir == "" {
		if dir, err = defaultStore(); err != nil {
			return nil, err
		}
	}
	return backend.OpenPublisher(dir, f.List, f.broker(), key)
}

func defaultStore() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", errors.New("no folder for the store\nhint: name one with --store")
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "badgectl", "lists"), nil
}

type listPushCmd struct {
	storeFlags
	File     string `arg:"" help:"CSV with a header; - is standard input."`
	DryRun   bool   `help:"Only show what would change."`
	Force    bool   `help:"Push even if the list shrinks a lot."`
	NewEpoch bool   `help:"Replace a list whose store was lost."`
}

// Run pushes, or shows what a push would do.
func (c *listPushCmd) Run(e *env) error {
	entries, err := c.read(e.in)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	p, err := c.open()
	if err != nil {
		return err
	}
	defer p.Close()
	done, err := p.Push(e.ctx, entries, backend.PushOpts{DryRun: c.DryRun, Force: c.Force, NewEpoch: c.NewEpoch})
	switch {
	case errors.Is(err, backend.ErrShrinks):
		return fmt.Errorf("%w\nhint: --dry-run shows what would go; --force pushes it all the same", err)
	case errors.Is(err, backend.ErrMoved):
		return fmt.Errorf("%w\nhint: push from the store that published it (--store), or replace it with --new-epoch", err)
	case err != nil:
		return err
	}
	return e.print(done, func(w io.Writer) { printPushed(w, c, done) })
}

func (c *listPushCmd) read(in io.Reader) ([]session.Entry, error) {
	if c.File == "-" {
		return backend.ReadCSV(in)
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return backend.ReadCSV(f)
}

// maxShown bounds what a push lists line by line.
const maxShown = 20

func printPushed(w io.Writer, c *listPushCmd, d backend.Pushed) {
	verb := "pushed"
	if c.DryRun {
		verb = "would push"
	}
	fmt.Fprintf(w, "%s %s version %d.%d: %d badges, %d put, %d removed\n", verb, c.List, d.Epoch, d.To, d.Count, len(d.Put), len(d.Remove))
	if !c.DryRun {
		return
	}
	for _, x := range d.Put[:min(len(d.Put), maxShown)] {
		fmt.Fprintf(w, "  put    %s %s %s\n", x.UID, x.Status, x.Account)
	}
	for _, u := range d.Remove[:min(len(d.Remove), maxShown)] {
		fmt.Fprintf(w, "  remove %s\n", u)
	}
	if more := max(0, len(d.Put)-maxShown) + max(0, len(d.Remove)-maxShown); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}

// checkFlags are those of the verbs that only read.
type checkFlags struct {
	brokerFlags
	List string `required:"" placeholder:"NAME" help:"Name of the list."`
	Keys string `required:"" placeholder:"KEYS.jwks" help:"Who may sign it."`
}

type listShowCmd struct{ checkFlags }

// Run reads the head.
func (c *listShowCmd) Run(e *env) error {
	keys, err := backend.ReadKeys(c.Keys)
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
	keys, err := backend.ReadKeys(c.Keys)
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

type listWatchCmd struct{ storeFlags }

// Run goes on until it is interrupted.
func (c *listWatchCmd) Run(e *env) error {
	p, err := c.open()
	if err != nil {
		return err
	}
	defer p.Close()
	return p.Watch(e.ctx, func(sent int, err error) {
		if err != nil {
			complain(e.err, err)
			return
		}
		fmt.Fprintf(e.out, "%s signed the head, sent %d pieces that the broker had lost\n", time.Now().Format(time.DateTime), sent)
	})
}
