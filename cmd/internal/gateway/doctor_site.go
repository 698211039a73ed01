package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
)

// examineConfig reads the file again: what the next start will find.
func examineConfig(c config.Config) []control.Check {
	now, err := config.Load(c.File)
	if err != nil {
		return ConfigChecks(err)
	}
	notes, err := Check(now)
	if err != nil {
		return ConfigChecks(err)
	}
	return compareConfig(c, now, notes)
}

// ConfigChecks has a line for each problem that Load or Check found.
func ConfigChecks(err error) []control.Check {
	const mend = "correct it, or ask the office for a new badged-provision.toml: badged does not start with it"
	var bad *config.Error
	switch {
	case errors.Is(err, fs.ErrNotExist): // the config itself
		return []control.Check{control.Failed(err, "this board is no gateway yet: put badged-provision.toml on its boot partition and restart it, or see badgectl provision apply --help").Named("config")}
	case !errors.As(err, &bad):
		return []control.Check{control.Failed(err, mend).Named("config")}
	}
	var out []control.Check
	for _, p := range bad.Problems {
		out = append(out, control.Failed(&config.Error{File: bad.File, Problems: []config.Problem{p}}, mend).Named("config"))
	}
	return out
}

// compareConfig compares the file with what is in force.
func compareConfig(inForce, now config.Config, notes []string) []control.Check {
	file := control.Fine("%s, %d readers, %d stations", now.File, len(now.Readers), len(now.Stations))
	if !inForce.Same(now) {
		file = control.Warn("restart badged to take it up: sudo systemctl restart badged", "%s has been changed since the start", now.File)
	}
	out := []control.Check{file.Named("config")}
	for _, n := range notes {
		out = append(out, control.Warn("nothing, if that is meant", "%s", n).Named("config"))
	}
	return out
}

// certificateAhead is how long before its end a certificate is a worry: it takes a
// while until somebody comes to a cellar.
const certificateAhead = 30 * 24 * time.Hour

// examineCertificates looks at the dates of what the connection to the broker
// hangs on.
func examineCertificates(c config.Config, now time.Time) (out []control.Check) {
	if s := c.Broker.URL.Scheme; s == "tcp" || s == "mqtt" {
		return []control.Check{control.Fine("none: the connection is not encrypted").Named("certificates")}
	}
	if c.Broker.CA != "" {
		out = append(out, checkDates(c.Broker.CA, now).Named("authority"))
	}
	return append(out, checkLogin(c, now).Named("certificate"))
}

// checkLogin looks at what the gateway shows the broker.
func checkLogin(c config.Config, now time.Time) control.Check {
	switch {
	case c.Broker.Cert == "" && c.Broker.PasswordFile == "":
		return control.Fine("none, and no password: it logs in with its name alone")
	case c.Broker.Cert == "":
		return control.Fine("none of its own: it logs in with user and password")
	}
	if _, err := c.Broker.Pair(); err != nil {
		return control.Failed(err, "ask the office for a new badged-provision.toml: certificate and key must be a pair")
	}
	return checkDates(c.Broker.Cert, now)
}

// checkDates judges the certificate in a PEM file that ends first.
func checkDates(path string, now time.Time) control.Check {
	certs, err := config.ReadCertificates(path)
	if err != nil {
		return control.Failed(err, "ask the office for a new badged-provision.toml, or put the PEM file there that the broker's operator gave")
	}
	first := certs[0]
	for _, c := range certs {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	who := fmt.Sprintf("%s (%s)", first.Subject.CommonName, filepath.Base(path))
	left := first.NotAfter.Sub(now)
	check := control.Fine("%s is good until %s, %d days", who, first.NotAfter.Format(time.DateOnly), left/(24*time.Hour))
	renew := "ask the office for a new one, and put it in the place of " + path + "; it is taken up without a restart"
	switch {
	case left <= 0:
		check = control.Failed(fmt.Errorf("%s has ended on %s", who, first.NotAfter.Format(time.DateOnly)), renew)
	case now.Before(first.NotBefore):
		check = control.Failed(fmt.Errorf("%s is not good before %s", who, first.NotBefore.Format(time.DateTime)), "check the clock of this board, and of whoever made it")
	case left < certificateAhead:
		check = control.Warn(renew, "%s ends on %s, in %d days", who, first.NotAfter.Format(time.DateOnly), left/(24*time.Hour))
	}
	return check
}

// Room on the disk of the databases that is little, and too little: see the
// reserve of package cache.
const (
	littleRoom = 200 << 20
	noRoom     = 16 << 20
)

// examineDisk asks how much room the databases have, and how worn the card is.
func examineDisk(state string) []control.Check {
	var fs unix.Statfs_t
	switch err := unix.Statfs(state, &fs); {
	case errors.Is(err, unix.ENOENT):
		return []control.Check{control.Warn("start badged, it makes it: sudo systemctl start badged", "%s is not there yet", state).Named("disk")}
	case err != nil:
		return []control.Check{control.Failed(fmt.Errorf("%s: %w", state, err), "run this as root; the folder belongs to the user that runs badged").Named("disk")}
	}
	disk := checkRoom(state, &fs)
	if files := checkFiles(state, unix.Access); disk.State != control.CheckFail && files.State == control.CheckFail {
		disk = files
	}
	return []control.Check{disk.Named("disk"), checkWear("/sys", state).Named("wear")}
}

// checkFiles asks whether this user may write each file: one that another has made,
// as with sudo badged, can be read for months before it matters.
func checkFiles(state string, access func(path string, mode uint32) error) control.Check {
	files, err := os.ReadDir(state)
	if err != nil {
		return control.Failed(err, "run this as root; the folder belongs to the user that runs badged")
	}
	for _, f := range files {
		path := filepath.Join(state, f.Name())
		if !f.Type().IsRegular() {
			continue // lost+found is root's alone
		}
		if err := access(path, unix.R_OK|unix.W_OK); errors.Is(err, unix.EACCES) {
			return control.Failed(fmt.Errorf("%s cannot be written: it belongs to another user than the one that runs badged", path),
				"sudo chown -R --reference="+state+" "+state+" and restart badged")
		}
	}
	return control.Fine("%d files", len(files))
}

func checkRoom(state string, fs *unix.Statfs_t) control.Check {
	free := int64(fs.Bavail) * int64(fs.Bsize)
	text := fmt.Sprintf("%d MiB free at %s", free>>20, state)
	switch {
	case fs.Flags&unix.ST_RDONLY != 0:
		return control.Failed(fmt.Errorf("the disk of %s is read-only: the kernel does that when a card fails", state), "look at dmesg; replace the card")
	case free < noRoom:
		return control.Failed(errors.New(text), "make room, no new session starts on a full disk: sudo journalctl --vacuum-size=50M is a start, df -h shows what is full")
	case free < littleRoom, fs.Files > 0 && fs.Ffree*50 < fs.Files:
		return control.Warn("make room: sudo journalctl --vacuum-size=50M is a start", "%s, %d of %d files", text, fs.Files-fs.Ffree, fs.Files)
	}
	return control.Fine("%s", text)
}

// checkWear asks the card that holds path for its age. eMMC tells it in steps of
// 10 % (JESD84-B51, DEVICE_LIFE_TIME_EST_TYP_A and _B; 0x0B is past its end); SD
// cards keep it to themselves.
func checkWear(sys, path string) control.Check {
	const replace = "replace the card: docs/install.md, Replacing a board"
	disk, err := diskOf(sys, path)
	if err != nil {
		return control.Fine("unknown: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(disk, "device", "life_time"))
	if err != nil {
		return control.Fine("%s does not tell its age; it has taken %s since the start of the board", filepath.Base(disk), written(disk))
	}
	var worst int
	for _, f := range strings.Fields(string(b)) {
		var n int
		if _, err := fmt.Sscanf(f, "0x%x", &n); err == nil {
			worst = max(worst, n)
		}
	}
	switch {
	case worst >= 0x0B:
		return control.Failed(fmt.Errorf("%s is past its estimated life", filepath.Base(disk)), replace)
	case worst >= 0x09:
		return control.Warn(replace, "%s has used %d to %d %% of its estimated life", filepath.Base(disk), 10*(worst-1), 10*worst)
	case worst == 0:
		return control.Fine("%s does not tell its age", filepath.Base(disk))
	}
	return control.Fine("%s has used at most %d %% of its estimated life", filepath.Base(disk), 10*worst)
}

// diskOf is the folder under sys of the disk, not the partition, that holds path.
func diskOf(sys, path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	dev, err := filepath.EvalSymlinks(fmt.Sprintf("%s/dev/block/%d:%d", sys, unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return "", fmt.Errorf("%s is on no disk of this board", path)
	}
	if _, err := os.Stat(filepath.Join(dev, "partition")); err == nil {
		dev = filepath.Dir(dev)
	}
	return dev, nil
}

// written is what a disk has been given since the board started: field 7 of its
// stat file, in sectors of 512 bytes (Linux Documentation/block/stat.rst).
func written(disk string) string {
	b, err := os.ReadFile(filepath.Join(disk, "stat"))
	fields := strings.Fields(string(b))
	if err != nil || len(fields) < 7 {
		return "nobody knows how much"
	}
	var sectors int64
	fmt.Sscan(fields[6], &sectors)
	return fmt.Sprintf("%d MiB in %s", sectors*512>>20, uptime().Round(time.Minute))
}

// nameTimeout is how long the name service may take.
const nameTimeout = 5 * time.Second

// checkName asks for the address of the broker.
func checkName(ctx context.Context, host string) control.Check {
	if net.ParseIP(host) != nil {
		return control.Fine("not needed: the broker is named by its address %s", host)
	}
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	var dns *net.DNSError
	switch {
	case err == nil:
		return control.Fine("%s is %s", host, strings.Join(addrs, ", "))
	case errors.As(err, &dns) && dns.IsNotFound:
		return control.Failed(err, "check broker.url letter by letter: there is no machine of this name; if it is right, ask the broker's operator")
	}
	return control.Failed(err, "check the network of this board: cable or SIM, then the router; resolvectl status shows which name service it asks")
}
