package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"badged/cmd/internal/backend"
	"badged/cmd/internal/durable"
	"badged/cmd/internal/provision"
)

type provisionCmd struct {
	Make  provisionMakeCmd  `cmd:"" help:"At the office: make the file for the boot partition, of one gateway or of many."`
	Check provisionCheckCmd `cmd:"" help:"Check such a file as the board will."`
	Apply provisionApplyCmd `cmd:"" help:"On the board: install the file, from its boot partition unless another is named."`
}

type provisionMakeCmd struct {
	Template string            `required:"" placeholder:"F" help:"A badged.toml with what the site's gateways have in common; the files that it names are beside it."`
	Out      string            `required:"" placeholder:"DIR" help:"Folder for a folder of each gateway."`
	Set      map[string]string `placeholder:"KEY=VALUE" mapsep:"none" help:"A key of badged.toml for this gateway: gateway.id=gw-0042. Repeat it for more."`
	CSV      string            `name:"csv" placeholder:"F" help:"Many gateways, a row each: a header of keys of badged.toml, and password, board, replaces; - is standard input."`
	Password string            `name:"password-file" placeholder:"F" help:"File with the password of the one gateway."`
	Board    string            `placeholder:"SERIAL" help:"Serial number of the only board that may use the file."`
	Replaces bool              `help:"The board that was this gateway before is out of service."`
	CA       string            `name:"client-ca" placeholder:"F" help:"Certificate of the authority that signs the gateways' own."`
	CAKey    string            `name:"client-ca-key" placeholder:"F" help:"Its key."`
	Days     int               `default:"3650" help:"How long these are good for."`
	Store    string            `placeholder:"DIR" help:"The publisher's folder: list.head becomes the list's newest version in it."`
}

// maxDays is a hundred years, well within a time.Duration.
const maxDays = 36500

// Run makes all files, or none.
func (c *provisionMakeCmd) Run(e *env) error {
	orders, err := c.orders(e.in)
	if err != nil {
		return err
	}
	m := provision.Maker{Template: c.Template, Now: time.Now()}
	if c.Store != "" {
		m.Head = func(list string) (string, error) { return backend.StoredHead(c.Store, list) }
	}
	if (c.CA == "") != (c.CAKey == "") {
		return errors.New("--client-ca and --client-ca-key go together: give both or none")
	}
	if c.Days < 1 || c.Days > maxDays {
		return fmt.Errorf("--days: %d: want 1 to %d", c.Days, maxDays)
	}
	if c.CA != "" {
		if m.Authority, err = provision.ReadAuthority(c.CA, c.CAKey, time.Duration(c.Days)*24*time.Hour); err != nil {
			return err
		}
	}
	made, err := m.Make(orders)
	if err != nil {
		return fmt.Errorf("%w\nhint: nothing was written", err)
	}
	for _, g := range made {
		path, err := c.write(e, g)
		if err != nil {
			return err
		}
		fmt.Fprintf(e.out, "%s  %s\n", g.ID, path)
	}
	for _, n := range provision.Notes(made) {
		fmt.Fprintf(e.err, "note: %s\n", n)
	}
	fmt.Fprintf(e.err, "%d made. They have secrets in them: each goes onto the boot partition of its board, and nowhere else.\n", len(made))
	return nil
}

// orders are the rows of the CSV, or the one gateway of the flags.
func (c *provisionMakeCmd) orders(in io.Reader) ([]provision.Order, error) {
	values := map[string]string{}
	for key, value := range c.Set { // with blanks around the equals sign too
		values[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
	}
	c.Set = values
	one := provision.Order{Values: c.Set, Dir: ".", Board: strings.ToLower(c.Board), Replaces: c.Replaces}
	if c.CSV == "" {
		if c.Set["gateway.id"] == "" {
			return nil, errors.New("which gateway is it? Two with the template's id would be one\nhint: --set gateway.id=ID, or --csv for many")
		}
		if c.Password != "" {
			b, err := durable.ReadFile(c.Password)
			if err != nil {
				return nil, err
			}
			if one.Password = strings.TrimRight(string(b), "\r\n"); one.Password == "" {
				return nil, fmt.Errorf("--password-file: %s is empty", c.Password)
			}
		}
		return []provision.Order{one}, nil
	}
	if c.Password != "" || c.Board != "" || c.Replaces {
		return nil, errors.New("--password-file, --board and --replaces are of one gateway: in a CSV they are columns")
	}
	orders, err := c.rows(in)
	for i := range orders {
		for key, value := range c.Set {
			if _, own := orders[i].Values[key]; !own {
				orders[i].Values[key] = value
			}
		}
	}
	return orders, err
}

func (c *provisionMakeCmd) rows(in io.Reader) ([]provision.Order, error) {
	if c.CSV == "-" {
		return provision.ReadCSV(in, "standard input", ".")
	}
	f, err := os.Open(c.CSV)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return provision.ReadCSV(f, c.CSV, filepath.Dir(c.CSV))
}

// write puts a gateway's file into a folder of its own, so that nobody has to
// rename it, and beside it the certificate, which revoking asks for.
func (c *provisionMakeCmd) write(e *env, g provision.Made) (path string, err error) {
	dir := filepath.Join(c.Out, g.ID)
	if err := durable.MakeDir(dir); err != nil {
		return "", err
	}
	if g.Cert != nil {
		cert := filepath.Join(dir, g.ID+".pem")
		if err := keepCert(e, cert); err != nil {
			return "", err
		}
		if err := durable.WriteFile(cert, g.Cert, 0o644); err != nil {
			return "", err
		}
	}
	path = filepath.Join(dir, provision.FileName)
	return path, durable.WriteFile(path, g.Doc, 0o600)
}

// keepCert gives the certificate that an earlier run made another name: a board may
// have it, and only with it can it be revoked.
func keepCert(e *env, path string) error {
	b, err := durable.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	kept := fmt.Sprintf("%s.%.4x.pem", strings.TrimSuffix(path, ".pem"), sha256.Sum256(b))
	if err := os.Rename(path, kept); err != nil {
		return err
	}
	fmt.Fprintf(e.err, "note: the certificate made before is %s now: a board may log in with it until you revoke it\n", kept)
	return nil
}

type provisionCheckCmd struct {
	File string `arg:"" help:"The file; - is standard input."`
}

// Run checks the file and says what is in it, without secrets.
func (c *provisionCheckCmd) Run(e *env) error {
	doc, name, err := readProvision(c.File, e.in)
	if err != nil {
		return err
	}
	notes, err := provision.Check(doc, name, time.Now())
	for _, n := range notes {
		fmt.Fprintln(e.out, "note:", n)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s: ok\n", name)
	return nil
}

func readProvision(path string, in io.Reader) (doc []byte, name string, err error) {
	if path == "-" {
		doc, err = durable.ReadAll(in, "standard input")
		return doc, provision.FileName, err
	}
	doc, err = durable.ReadFile(path)
	return doc, path, err
}

type provisionApplyCmd struct {
	File     string `arg:"" optional:"" help:"The file, instead of the one on the boot partition; - is standard input."`
	Replaces bool   `help:"The board that was this gateway before is out of service: this one takes its place."`
	Root     string `placeholder:"DIR" help:"Another system than this one, whose root is mounted there."`
}

// Run installs the file, and does what is due at each start.
func (c *provisionApplyCmd) Run(e *env) error {
	b, err := provision.OpenBoard(c.Root)
	if err != nil {
		return err
	}
	var r provision.Report
	if c.File == "" {
		r, err = b.Boot(c.Replaces)
	} else {
		var doc []byte
		if doc, _, err = readProvision(c.File, e.in); err != nil {
			return err
		}
		r, err = b.Apply(doc, c.path(), c.Replaces)
	}
	if perr := e.print(r.State, func(w io.Writer) { io.WriteString(w, r.Text) }); perr != nil {
		return perr
	}
	if err == nil && c.File != "" && c.Root == "" {
		fmt.Fprintln(e.err, "hint: the gateway takes it up when it starts: sudo systemctl restart badged")
	}
	return err
}

func (c *provisionApplyCmd) path() string {
	if c.File == "-" {
		return ""
	}
	return c.File
}
