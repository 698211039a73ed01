package systemd_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// script runs a systemd of its own for the units in $1, below which it has all its
// folders, as if the machine had been booted with it.
const script = `
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system || exit 77
export XDG_RUNTIME_DIR=$1/run XDG_CONFIG_HOME=$1/config HOME=$1
mkdir -p "$XDG_RUNTIME_DIR"
"$2" --user --unit=basic.target >"$1/journal" 2>&1 &
for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1; systemctl --user is-active basic.target >/dev/null 2>&1 && break; done
systemctl --user start badged.service >>"$1/journal" 2>&1 || exit 77
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1; [ "$(wc -l <"$1/log")" -ge 14 ] && break; done
exit 0
`

// What falling back hangs on: systemd runs the oneshot before every start of the
// gateway, those after a failure too, however fast they follow, and asks whether
// there is a configuration only then. The units are as they are shipped, less their sandbox and with a shell
// for the programs, and are started again at once; the first run of the oneshot makes the configuration.
func TestOneshotRunsBeforeEveryStart(t *testing.T) {
	const systemd = "/lib/systemd/systemd"
	if _, err := os.Stat(systemd); err != nil || os.Geteuid() != 0 {
		t.Skip("no systemd here, or no root")
	}
	dir := t.TempDir()
	units := filepath.Join(dir, "config/systemd/user")
	wants := filepath.Join(units, "badged.service.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, does := range map[string]string{
		"badged.service":           "echo badged >>" + dir + "/log; exit 1",
		"badged-provision.service": "echo provision >>" + dir + "/log; touch " + dir + "/badged.toml",
	} {
		if err := os.WriteFile(filepath.Join(units, name), []byte(stripped(t, name, dir, does)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range wantedBy(t, "badged-provision.service") {
		if name == "badged.service" {
			if err := os.Symlink("../badged-provision.service", filepath.Join(wants, "badged-provision.service")); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-c", script, "sh", dir, systemd).CombinedOutput()
	if err != nil {
		t.Skipf("no systemd of one's own here: %v\n%s", err, out)
	}
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	if want := strings.Repeat("provision\nbadged\n", 7); !strings.HasPrefix(string(log), want) {
		journal, _ := os.ReadFile(filepath.Join(dir, "journal"))
		t.Errorf("got\n%s\nwant\n%s\n%s", log, want, journal)
	}
}

// stripped is a unit with what decides when it starts.
func stripped(t *testing.T, name, dir, does string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	unit, rest, _ := strings.Cut(string(b), "[Service]")
	unit = regexp.MustCompile(`(?m)^(RequiresMountsFor|Documentation|After)=.*$`).ReplaceAllString(unit, "")
	unit = strings.ReplaceAll(unit, "/etc/badged/badged.toml", filepath.Join(dir, "badged.toml"))
	kind := "simple" // for notify
	if strings.Contains(rest, "Type=oneshot") {
		kind = "oneshot"
	}
	rest = regexp.MustCompile(`(?m)^RestartSec=.*$`).ReplaceAllString(rest, "RestartSec=100ms")
	restart := strings.Join(regexp.MustCompile(`(?m)^Restart[A-Za-z]*=.*$`).FindAllString(rest, -1), "\n")
	return unit + "[Service]\nType=" + kind + "\nExecStart=/bin/sh -c '" + does + "'\n" + restart + "\n"
}

func wantedBy(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(b), "WantedBy=")
	line, _, _ := strings.Cut(list, "\n")
	return strings.Fields(line)
}
