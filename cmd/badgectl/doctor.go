package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"

	"badged/cmd/internal/control"
)

type doctorCmd struct {
	Reader    string `placeholder:"R" help:"Only this reader."`
	GainSweep bool   `help:"Lay a card on the reader first: how often it is read at each gain."`
	Relays    bool   `help:"Ask for each relay whether to close it for two seconds, and whether it did."`
	Report    bool   `help:"Print a commissioning report to be signed and kept."`
	Bundle    string `placeholder:"FILE" help:"Write what support needs to a .tar.gz: no secrets, no UIDs, no accounts."`
	Config    string `default:"/etc/badged/badged.toml" placeholder:"F" help:"Config to examine where no gateway runs (default: ${default})."`
}

// errUnwell makes the exit code tell what the lines say.
var errUnwell = errors.New("some checks failed")

// Run asks the gateway to examine itself, or where none runs the daemon's program
// to examine the board.
func (c *doctorCmd) Run(e *env) error {
	checks, err := c.examine(e)
	if err != nil {
		return err
	}
	if c.Relays {
		checks = append(checks, askRelays(e)...)
	}
	switch {
	case c.Bundle != "":
		err = c.bundle(e, checks)
	case c.Report:
		err = e.print(checks, func(w io.Writer) { printReport(w, e, checks) })
	default:
		err = e.print(checks, func(w io.Writer) { printChecks(w, checks) })
	}
	if err != nil {
		return err
	}
	if count(checks)[control.CheckFail] > 0 {
		return errUnwell
	}
	return nil
}

func (c *doctorCmd) examine(e *env) (checks []control.Check, err error) {
	err = e.gateway().Post(e.ctx, "/v1/doctor", control.Examination{Reader: c.Reader, GainSweep: c.GainSweep}, &checks)
	if !errors.Is(err, control.ErrNobody) || c.Reader != "" || c.GainSweep {
		return checks, err
	}
	down := control.Failed(fmt.Errorf("badged does not run: nothing listens at %s", e.socket),
		"mend what fails below, then: sudo systemctl start badged; if it stops again: journalctl -u badged -n 50")
	return append([]control.Check{down.Named("daemon")}, examineBoard(e.ctx, c.Config)...), nil
}

// examineBoard has the daemon's program look at what it would work with, as the
// user that it runs as on a board: what root may read is no answer.
func examineBoard(ctx context.Context, config string) (checks []control.Check) {
	cmd := exec.CommandContext(ctx, daemonProgram(), "--config", config, "--examine")
	as, err := daemonUser(os.Geteuid(), "badged")
	if err != nil {
		return []control.Check{control.Failed(err, "run this as root").Named("board")}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	var problem strings.Builder
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &checks)
	}
	if err != nil {
		return []control.Check{control.Failed(fmt.Errorf("not examined: %w %s", err, firstLine(problem.String())),
			"run this as root; is the package badged installed whole? dpkg --verify badged").Named("board")}
	}
	return checks
}

// daemonUser is whom a board is examined as: by root as the user of the package, by
// others not at all. At a desk, without that user, it is who asks: nil.
func daemonUser(euid int, name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, nil
	}
	if euid != 0 {
		return nil, errors.New("only root sees what badged may use\nhint: sudo badgectl doctor")
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	c := &syscall.Credential{Uid: number(u.Uid), Gid: number(u.Gid)}
	for _, g := range groups {
		c.Groups = append(c.Groups, number(g))
	}
	return c, nil
}

// number reads an id that the system has written.
func number(id string) uint32 {
	n, _ := strconv.ParseUint(id, 10, 32)
	return uint32(n)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// daemonProgram is the badged beside this program, else the one on the path.
func daemonProgram() string {
	if self, err := os.Executable(); err == nil {
		if beside, err := exec.LookPath(filepath.Join(filepath.Dir(self), "badged")); err == nil {
			return beside
		}
	}
	return "badged"
}

// askRelays tries each relay that the person at the keyboard wants to hear.
func askRelays(e *env) (out []control.Check) {
	s, err := status(e)
	if err != nil {
		return []control.Check{control.Failed(err, "start the gateway first").Named("relays")}
	}
	in := bufio.NewScanner(e.in)
	for _, st := range s.Stations {
		if check, tried := askRelay(e, in, st.ID); tried {
			out = append(out, check)
		}
	}
	return out
}

func askRelay(e *env, in *bufio.Scanner, id string) (check control.Check, tried bool) {
	name := "station " + id + ": relay tried"
	if !yes(e, in, "Station %s: close its relay for two seconds? Whatever hangs on it is switched on.", id) {
		return check, false
	}
	if err := e.gateway().Post(e.ctx, "/v1/stations/"+id+"/test", nil, nil); err != nil {
		return control.Failed(err, "end the session first, or mend the relay's line").Named(name), true
	}
	if !yes(e, in, "Station %s: did it close, and open again?", id) {
		return control.Failed(errors.New("nobody saw or heard it"), "check the supply of the relay board, the line and station.relay_active (high or low)").Named(name), true
	}
	return control.Fine("it closes and opens").Named(name), true
}

// yes asks, and takes the end of the input for no.
func yes(e *env, in *bufio.Scanner, question string, a ...any) bool {
	fmt.Fprintf(e.err, question+" [y/N] ", a...)
	if !in.Scan() {
		fmt.Fprintln(e.err)
		return false
	}
	answer := strings.ToLower(strings.TrimSpace(in.Text()))
	return answer == "y" || answer == "yes"
}

// printChecks has one line a check; what to do follows the finding and an arrow.
func printChecks(out io.Writer, checks []control.Check) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, c := range checks {
		text := c.Text
		if c.Do != "" {
			text += " -> " + c.Do
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.State, c.Name, text)
	}
}

func count(checks []control.Check) map[control.CheckState]int {
	n := map[control.CheckState]int{}
	for _, c := range checks {
		n[c.State]++
	}
	return n
}
