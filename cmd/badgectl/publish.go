package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"badged/cmd/internal/backend"
	"badged/session"
)

// storeFlags are those of the publisher's verbs.
type storeFlags struct {
	brokerFlags
	List  string `required:"" placeholder:"NAME" help:"Name of the list."`
	Sign  string `required:"" placeholder:"KEY.jwk" help:"Key that signs it."`
	Store string `placeholder:"DIR" help:"The publisher's own folder, the truth about its lists (default: badgectl/lists under $$XDG_STATE_HOME or ~/.local/state)."`
}

// lockPatience is how long another badgectl may work on the same list.
const lockPatience = 30 * time.Second

// open opens the store, once nobody else works in it.
func (f storeFlags) open(e *env) (*backend.Publisher, error) {
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
	for end := time.Now().Add(lockPatience); ; {
		p, err := backend.OpenPublisher(dir, f.List, f.broker(), key)
		if !errors.Is(err, backend.ErrInUse) || time.Now().After(end) || e.ctx.Err() != nil {
			return p, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// with gives do the store.
func (f storeFlags) with(e *env, do func(p *backend.Publisher) error) error {
	p, err := f.open(e)
	if err != nil {
		return err
	}
	defer p.Close()
	return do(p)
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
	entries, err := readCSV(e.in, c.File)
	if err != nil {
		return err
	}
	return c.with(e, func(p *backend.Publisher) error {
		done, err := p.Push(e.ctx, entries, backend.PushOpts{DryRun: c.DryRun, Force: c.Force, NewEpoch: c.NewEpoch})
		if err != nil && !(c.DryRun && errors.Is(err, backend.ErrShrinks)) {
			return hintOf(err)
		}
		s := summary(done, err != nil)
		return e.print(s, func(w io.Writer) { printPushed(w, c, s) })
	})
}

// hintOf adds what to do about an error of the publisher.
func hintOf(err error) error {
	hint := ""
	switch {
	case errors.Is(err, backend.ErrShrinks):
		hint = "--dry-run shows what would go; --force pushes it all the same"
	case errors.Is(err, backend.ErrMoved):
		hint = "publish from the store that did so last (--store); badgectl list push --new-epoch replaces its list"
	case errors.Is(err, backend.ErrReplaced):
		hint = "name the key that replaced it with --sign"
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w\nhint: %s", err, hint)
}

// readCSV reads the list in a file, or in the input for "-".
func readCSV(in io.Reader, path string) ([]session.Entry, error) {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	entries, err := backend.ReadCSV(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entries, nil
}

// maxShown bounds the badges that a push shows of each kind.
const maxShown = 10

// pushSummary is what a push did, or would do. Badges are masked.
type pushSummary struct {
	Epoch     uint64   `json:"epoch"`
	From      uint64   `json:"from"` // version before, 0 for none
	To        uint64   `json:"to"`
	Count     int      `json:"count"`
	Put       int      `json:"put"`
	Removed   int      `json:"removed"`
	Unchanged int      `json:"unchanged"`
	Snapshot  bool     `json:"snapshot"`
	WantForce bool     `json:"wantsForce"` // the list shrinks a lot
	Examples  examples `json:"examples"`
}

type examples struct {
	Put     []string `json:"put"`
	Removed []string `json:"removed"`
}

func summary(d backend.Pushed, force bool) pushSummary {
	s := pushSummary{Epoch: d.Epoch, From: d.From, To: d.To, Count: d.Count, Put: len(d.Put), Removed: len(d.Remove),
		Unchanged: d.Count - len(d.Put), Snapshot: d.Snapshot, WantForce: force, Examples: examples{[]string{}, []string{}}}
	for _, x := range d.Put[:min(len(d.Put), maxShown)] {
		s.Examples.Put = append(s.Examples.Put, strings.TrimSpace(fmt.Sprint(x.UID.Masked(), " ", x.Status, " ", x.Account)))
	}
	for _, uid := range d.Remove[:min(len(d.Remove), maxShown)] {
		s.Examples.Removed = append(s.Examples.Removed, uid.Masked())
	}
	return s
}

func printPushed(w io.Writer, c *listPushCmd, s pushSummary) {
	verb := "pushed"
	if c.DryRun {
		verb = "would push"
	}
	fmt.Fprintf(w, "%s %s version %d.%d, %d badges: %d put, %d removed, %d unchanged\n", verb, c.List, s.Epoch, s.To, s.Count, s.Put, s.Removed, s.Unchanged)
	if !c.DryRun {
		return
	}
	for _, x := range s.Examples.Put {
		fmt.Fprintln(w, "  put    ", x)
	}
	for _, x := range s.Examples.Removed {
		fmt.Fprintln(w, "  remove ", x)
	}
	if more := s.Put - len(s.Examples.Put) + s.Removed - len(s.Examples.Removed); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
	if s.WantForce {
		fmt.Fprintln(w, "the list shrinks a lot: this push needs --force")
	}
}

type listCompactCmd struct{ storeFlags }

// Run makes a snapshot of the newest version.
func (c *listCompactCmd) Run(e *env) error {
	return c.with(e, func(p *backend.Publisher) error {
		done, err := p.Compact(e.ctx)
		if err != nil {
			return hintOf(err)
		}
		return e.print(summary(done, false), func(w io.Writer) {
			if !done.Snapshot {
				fmt.Fprintf(w, "%s version %d.%d has a snapshot already\n", c.List, done.Epoch, done.To)
				return
			}
			fmt.Fprintf(w, "%s version %d.%d: new snapshot of %d badges\n", c.List, done.Epoch, done.To, done.Count)
		})
	})
}

type listRotateCmd struct {
	storeFlags
	Root        string `required:"" placeholder:"ROOT.jwk" help:"Root key, whose public half the gateways pin as list.root_keys."`
	CommandKeys string `xor:"c" placeholder:"F.jwks" help:"Who may sign commands from now on (default: as in the last key set)."`
	NoCommands  bool   `xor:"c" help:"Nobody may sign commands from now on."`
	After       uint64 `placeholder:"N" help:"Sequence of the last key set, where neither store nor broker know it any more (a gateway's status does)."`
}

// Run makes the key of --sign the one that signs the list.
func (c *listRotateCmd) Run(e *env) error {
	o := backend.RotateOpts{After: c.After}
	var err error
	if o.Root, err = backend.ReadKey(c.Root); err != nil {
		return err
	}
	switch {
	case c.NoCommands:
		o.Commands = &jose.JSONWebKeySet{}
	case c.CommandKeys != "":
		keys, err := backend.ReadKeys(c.CommandKeys)
		if err != nil {
			return err
		}
		o.Commands = &keys
	}
	return c.with(e, func(p *backend.Publisher) error {
		set, err := p.Rotate(e.ctx, o)
		switch {
		case errors.Is(err, backend.ErrNoCommandKeys):
			return fmt.Errorf("%w\nhint: --command-keys F.jwks, or --no-commands", err)
		case err != nil:
			return hintOf(err)
		}
		return e.print(set, func(w io.Writer) {
			fmt.Fprintf(w, "%s is signed by %s from now on: key set %d, with %d command keys\n", c.List, set.ListKeys.Keys[0].KeyID, set.Sequence, len(set.CommandKeys.Keys))
			fmt.Fprintln(w, "gateways that pin no root key need a visit; status.list.keys tells who has followed")
		})
	})
}

type listWatchCmd struct{ storeFlags }

// Run goes on until it is interrupted. Between two looks the store is free.
func (c *listWatchCmd) Run(e *env) error {
	if _, err := backend.ReadKey(c.Sign); err != nil {
		return err
	}
	open := func() (*backend.Publisher, error) { return c.open(e) }
	return backend.Watch(e.ctx, open, func(sent int, err error) {
		if err != nil {
			complain(e.err, err)
			return
		}
		fmt.Fprintf(e.out, "%s signed the head, sent %d pieces that the broker had lost\n", time.Now().Format(time.DateTime), sent)
	})
}
