package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"badged/cmd/internal/provision"
)

// The programs as they are installed, from the office's CSV to a daemon that takes
// the configuration. systemd is not here: the oneshot's command is run by hand.
func TestProvisioning(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the programs")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir+"/", "badged/cmd/badged", "badged/cmd/badgectl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	badged, badgectl := filepath.Join(dir, "badged"), filepath.Join(dir, "badgectl")
	t.Run("from a CSV to two boards", func(t *testing.T) { fromOfficeToBoards(t, badged, badgectl) })
	t.Run("over ssh", func(t *testing.T) { overSSH(t, badged, badgectl) })
}

// process runs a program on an input and returns what it printed.
func process(t *testing.T, in, program string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(in)
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

func must(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, code := process(t, "", program, args...)
	if code != 0 {
		t.Fatalf("%s %s: got code %d\n%s", filepath.Base(program), strings.Join(args, " "), code, out)
	}
	return out
}

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// office is a site's folder with two gateways in a CSV.
func office(t *testing.T, badgectl string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, badgectl, "list", "keygen", "--out", dir)
	must(t, badgectl, "list", "keygen", "--kind", "root", "--out", dir)
	must(t, badgectl, "command", "keygen", "--out", dir)
	must(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=site",
		"-keyout", filepath.Join(dir, "ca.key"), "-out", filepath.Join(dir, "ca.pem"))
	put(t, filepath.Join(dir, "site.key"), strings.Repeat("5e", 32)+"\n", 0o600)
	reference, err := os.ReadFile("../internal/gateway/badged.toml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(`# site_key =`, `site_key =`, `# root_keys =`, `root_keys =`).Replace(string(reference))
	put(t, filepath.Join(dir, "badged.toml"), text, 0o644)
	put(t, filepath.Join(dir, "lists/via-roma-12/head.json"), `{"head": {"list": "via-roma-12", "epoch": 2, "version": 31}}`, 0o600)
	put(t, filepath.Join(dir, "gateways.csv"), "gateway.id,gateway.language,station[0].id,station[1].id,password\ngw-1,de,washer-1,garage-1,secret-1\ngw-2,fr,washer-2,garage-2,secret-2\n", 0o600)
	return dir
}

func board(t *testing.T, serial string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range map[string]string{
		"etc/passwd": "badged:x:997:996::/:/bin/false\n", "etc/group": "badged:x:996:\n", "proc/device-tree/serial-number": serial + "\x00",
		"boot/firmware/config.txt": "dtparam=spi=on\n", "var/lib/badged/.keep": "", "etc/badged/.keep": "",
	} {
		put(t, filepath.Join(root, name), text, 0o644)
	}
	return root
}

func fromOfficeToBoards(t *testing.T, badged, badgectl string) {
	dir := office(t, badgectl)
	out := filepath.Join(dir, "out")
	order := []string{"provision", "make", "--template", filepath.Join(dir, "badged.toml"), "--csv", filepath.Join(dir, "gateways.csv"), "--out", out,
		"--client-ca", filepath.Join(dir, "ca.pem"), "--client-ca-key", filepath.Join(dir, "ca.key"), "--store", filepath.Join(dir, "lists")}
	said := must(t, badgectl, order...)
	if !strings.Contains(said, "gw-1") || !strings.Contains(said, "2 made") {
		t.Errorf("got %s, want two files", said)
	}
	for _, id := range []string{"gw-1", "gw-2"} {
		file := filepath.Join(out, id, provision.FileName)
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Fatalf("got %v, %v, want mode 0600", info, err)
		}
		must(t, badgectl, "provision", "check", file)
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		root := board(t, "10000000"+id)
		onCard := filepath.Join(root, "boot/firmware", provision.FileName)
		put(t, onCard, string(doc), 0o644)
		if said := must(t, badgectl, "provision", "apply", "--root", root); !strings.Contains(said, "DONE. This board is gateway "+id) {
			t.Errorf("got %s, want it done", said)
		}
		checkInstalled(t, badged, root, id)
		if left, err := os.ReadDir(filepath.Dir(onCard)); err != nil || len(left) != 2 {
			t.Errorf("got %v, %v, want the result and what was there before", left, err)
		}
		if said := must(t, badgectl, "provision", "apply", "--root", root); said != "" {
			t.Errorf("got %q at the next start, want nothing said", said)
		}
	}
	before, err := os.ReadFile(filepath.Join(out, "gw-1/gw-1.pem"))
	if err != nil {
		t.Fatal(err)
	}
	said = must(t, badgectl, order...)
	kept, _ := filepath.Glob(filepath.Join(out, "gw-1/gw-1.*.pem")) // the pattern is well formed
	if len(kept) != 1 || !strings.Contains(said, kept[0]) {
		t.Fatalf("got %q and\n%s\nwant the certificate that a board has kept, and that said", kept, said)
	}
	if b, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(b, before) {
		t.Errorf("%s: got another certificate than the first, %v", kept[0], err)
	}
}

// checkInstalled asks the daemon itself, and a TLS client.
func checkInstalled(t *testing.T, badged, root, id string) {
	t.Helper()
	link := filepath.Join(root, "etc/badged/badged.toml")
	said := must(t, badged, "--config", link, "--check")
	if !strings.Contains(said, "ok: gateway "+id+",") || strings.Contains(said, "site_key") {
		t.Errorf("got %s, want the check to pass, with the site key", said)
	}
	real, err := filepath.EvalSymlinks(link)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(filepath.Dir(real), "gateway.pem"), filepath.Join(filepath.Dir(real), "gateway.key"))
	if err != nil || pair.Leaf.Subject.CommonName != id || pair.Leaf.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Errorf("got %v, %v, want a client certificate of %s", pair.Leaf, err, id)
	}
	text, err := os.ReadFile(real)
	if err != nil || !strings.Contains(string(text), `head = "2.31"`) || strings.Contains(string(text), "[provision") || strings.Contains(string(text), "PRIVATE") {
		t.Errorf("got %v and\n%s\nwant the head, and neither [provision] nor a secret", err, text)
	}
}

func overSSH(t *testing.T, badged, badgectl string) {
	dir := office(t, badgectl)
	must(t, badgectl, "provision", "make", "--template", filepath.Join(dir, "badged.toml"), "--out", filepath.Join(dir, "out"), "--set", "gateway.id=gw-3",
		"--client-ca", filepath.Join(dir, "ca.pem"), "--client-ca-key", filepath.Join(dir, "ca.key"), "--set", "list.head=2.31")
	doc, err := os.ReadFile(filepath.Join(dir, "out/gw-3", provision.FileName))
	if err != nil {
		t.Fatal(err)
	}
	root := board(t, "10000000abcd")
	if err := os.RemoveAll(filepath.Join(root, "boot")); err != nil {
		t.Fatal(err)
	}
	out, code := process(t, string(doc), badgectl, "provision", "apply", "--root", root, "-")
	if code != 0 || !strings.Contains(out, "DONE. This board is gateway gw-3") || strings.Contains(out, "partition") {
		t.Errorf("got code %d and\n%s", code, out)
	}
	checkInstalled(t, badged, root, "gw-3")
	b, err := os.ReadFile(filepath.Join(dir, "out/gw-3/gw-3.pem")) // what revoking asks for
	if block, rest := pem.Decode(b); err != nil || block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		t.Errorf("got %v and %s, want the certificate beside the file", err, b)
	}
	out, code = process(t, strings.Replace(string(doc), "gw-3", "GW 3", 1), badgectl, "provision", "apply", "--root", root, "-")
	if code != exitFailed || !strings.Contains(out, "line 7, gateway.id") || !strings.Contains(out, "error: not provisioned") {
		t.Errorf("got code %d and\n%s\nwant the line", code, out)
	}
}

func TestMakeWritesAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	if _, errOut, code := badgectl(t, "list", "keygen", "--out", dir); code != 0 {
		t.Fatal(errOut)
	}
	reference, err := os.ReadFile("../internal/gateway/badged.toml")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "badged.toml"), string(reference), 0o644)
	put(t, filepath.Join(dir, "g.csv"), "gateway.id\ngw-1\ngw-2\n", 0o644)
	_, errOut, code := badgectl(t, "provision", "make", "--template", filepath.Join(dir, "badged.toml"), "--csv", filepath.Join(dir, "g.csv"), "--out", filepath.Join(dir, "out"))
	if code != exitFailed || !strings.Contains(errOut, "g.csv:3: broker.ca: open") || !strings.Contains(errOut, "hint: nothing was written") {
		t.Errorf("got code %d and %q", code, errOut)
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); !os.IsNotExist(err) {
		t.Errorf("got %v, want nothing written", err)
	}
	const id = "gateway.id=gw-1"
	for _, c := range []struct {
		says string
		args []string
	}{
		{"go together", []string{"--set", id, "--client-ca", "x"}},
		{"they are columns", []string{"--csv", "x", "--board", "y"}},
		{"no such key", []string{"--set", id, "--set", "gateway.colour=red"}},
		{"hint: --set gateway.id=ID", nil},
		{"hint: --set gateway.id=ID", []string{"--set", "gateway.language=it"}},
		{"is empty", []string{"--set", id, "--password-file", os.DevNull}},
		{"/dev/zero: larger than 1 MiB", []string{"--set", id, "--password-file", "/dev/zero"}},
		{"/dev/zero: larger than 1 MiB", []string{"--csv", "/dev/zero"}},
		{"authority: /dev/zero: larger than 1 MiB", []string{"--set", id, "--client-ca", "/dev/zero", "--client-ca-key", "/dev/zero"}},
		{`gateway.id: "GW 1": want 1 to 64`, []string{"--set", " Gateway.ID = GW 1 "}},
		{"--client-ca and --client-ca-key", []string{"--set", id}},
		{"is it the publisher's folder", []string{"--set", id, "--store", dir}},
		{"want 1 to 36500", []string{"--set", id, "--days", "99999999"}},
		{"want 1 to 36500", []string{"--set", id, "--days=-5"}},
	} {
		_, errOut, code := badgectl(t, append([]string{"provision", "make", "--template", filepath.Join(dir, "badged.toml"), "--out", dir}, c.args...)...)
		if code != exitFailed || !strings.Contains(errOut, c.says) {
			t.Errorf("%v: got code %d and %q, want an error with %q", c.args, code, errOut, c.says)
		}
	}
}

// What a technician or a clerk hands over by mistake is read to an end, and called.
func TestFilesThatAreNoProvisioningFile(t *testing.T) {
	root := board(t, "10000000abcd")
	for file, says := range map[string]string{
		"/dev/zero": "/dev/zero: larger than 1 MiB", os.DevNull: "empty; copy it again", filepath.Join(root, "gone"): "no such file", root: "is a directory",
	} {
		for _, verb := range [][]string{{"check"}, {"apply", "--root", root}} {
			args := append(append([]string{"provision"}, verb...), file)
			out, errOut, code := badgectl(t, args...)
			if code != exitFailed || !strings.Contains(strings.Join(strings.Fields(out+errOut), " "), says) {
				t.Errorf("%v: got code %d and %q, want %q", args, code, out+errOut, says)
			}
		}
	}
}
