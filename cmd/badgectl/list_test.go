package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"badged/session"
)

// authority signs certificates for a test, in a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir string) *authority {
	a := &authority{t: t, dir: dir}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue writes name.pem and name.key.
func (a *authority) issue(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", secret)
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made, key
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// secureMosquitto is a Mosquitto that lets in by client certificate only, and by
// it knows who may write the list.
func secureMosquitto(t *testing.T, dir string) (url string) {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Fatal("no mosquitto on this machine: make test installs it, or sudo apt-get install mosquitto")
		}
	}
	a := newAuthority(t, dir)
	a.issue("broker", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	a.issue("publisher", &x509.Certificate{})
	a.issue("reader", &x509.Certificate{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	conf := fmt.Sprintf("listener %d 127.0.0.1\ncafile %[2]s/ca.pem\ncertfile %[2]s/broker.pem\nkeyfile %[2]s/broker.key\n"+
		"require_certificate true\nuse_identity_as_username true\nacl_file %[2]s/acl\n", addr.Port, dir)
	acl := "user publisher\ntopic readwrite badged/v1/lists/#\nuser reader\ntopic read badged/v1/lists/#\n"
	for name, text := range map[string]string{"conf": conf, "acl": acl} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-c", filepath.Join(dir, "conf"))
	if os.Getuid() == 0 { // it would give its rights up, and could not read the files
		cmd.Args = append(cmd.Args, "-v")
		if err := os.WriteFile(filepath.Join(dir, "conf"), []byte("user root\n"+conf), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr.String()); err == nil {
			c.Close()
			return "tls://" + addr.String()
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// The life of a list from a laptop, by a Mosquitto with TLS, client certificates
// and an access list.
func TestListFromALaptop(t *testing.T) {
	dir := t.TempDir()
	url := secureMosquitto(t, dir)
	file := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	as := func(who string) []string {
		return []string{"--broker", url, "--ca", file("ca.pem"), "--cert", file(who + ".pem"), "--key", file(who + ".key"), "--list", "via-roma-12"}
	}
	sign := func(key string) []string { return []string{"--sign", file(key), "--store", file("store")} }
	step := func(wantCode int, want string, parts ...[]string) {
		t.Helper()
		args := append([]string{"list"}, slices.Concat(parts...)...)
		out, errOut, code := badgectl(t, args...)
		if code != wantCode || !strings.Contains(out+errOut, want) {
			t.Fatalf("%v:\ngot %q, %q, exit %d\nwant %q, exit %d", args, out, errOut, code, want, wantCode)
		}
	}
	verb := func(words ...string) []string { return words }
	pinned := verb("--keys", file("list-keys.jwks"))

	for _, kind := range []string{"list", "command", "root"} {
		step(0, kind+"-key", verb("keygen", "--out", dir, "--kind", kind))
		if info, err := os.Stat(file(kind + "-key.jwk")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s-key.jwk: got %v, %v, want mode 0600", kind, info, err)
		}
	}
	step(1, "is there already", verb("keygen", "--out", dir))
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "%08X,r-%d\n", 0x04A1B200+i, i)
	}
	write("all.csv", "uid,account\n"+many.String())
	write("fewer.csv", "uid,account\n"+strings.Join(strings.SplitAfter(many.String(), "\n")[:85], ""))
	write("one-less.csv", "uid,account,status\n"+strings.ReplaceAll(strings.Join(strings.SplitAfter(many.String(), "\n")[:99], ""), "\n", ",Accepted\n")+"30949AD1,r-9,Blocked\n")

	step(0, "would push via-roma-12 version 1.1, 100 badges: 100 put, 0 removed, 0 unchanged", verb("push", file("all.csv"), "--dry-run"), as("publisher"), sign("list-key.jwk"))
	step(1, "the broker has no list", verb("show"), as("reader"), pinned)
	step(0, "pushed via-roma-12 version 1.1", verb("push", file("all.csv")), as("publisher"), sign("list-key.jwk"))
	step(0, "version 1.1, 100 badges", verb("show"), as("reader"), pinned)
	step(1, "15 of 100 badges would go", verb("push", file("fewer.csv")), as("publisher"), sign("list-key.jwk"))
	step(1, "--force", verb("push", file("fewer.csv")), as("publisher"), sign("list-key.jwk"))
	step(0, "this push needs --force", verb("push", file("fewer.csv"), "--dry-run"), as("publisher"), sign("list-key.jwk"))
	step(0, "put     3094…D1 Blocked r-9\n  remove  04A1…63\n", verb("push", file("one-less.csv"), "--dry-run"), as("publisher"), sign("list-key.jwk"))
	step(0, `"put":1,"removed":1,"unchanged":99`, verb("push", file("one-less.csv"), "--json", "--dry-run"), as("publisher"), sign("list-key.jwk"))
	step(1, "does not keep", verb("push", file("one-less.csv")), as("reader"), sign("list-key.jwk"))
	step(0, "pushed via-roma-12 version 1.2", verb("push", file("one-less.csv")), as("publisher"), sign("list-key.jwk"))
	step(0, "new snapshot of 100 badges", verb("compact"), as("publisher"), sign("list-key.jwk"))
	step(0, "has a snapshot already", verb("compact"), as("publisher"), sign("list-key.jwk"))
	step(0, "99 Accepted, 1 Blocked", verb("verify"), as("reader"), pinned)

	step(0, "list-key.jwk", verb("keygen", "--out", file("new")))
	step(1, "--no-commands", verb("rotate", "--root", file("root-key.jwk")), as("publisher"), sign("new/list-key.jwk"))
	step(0, "key set 2, with 1 command keys", verb("rotate", "--root", file("root-key.jwk"), "--command-keys", file("command-keys.jwks")), as("publisher"), sign("new/list-key.jwk"))
	step(1, "not among the pinned keys", verb("verify"), as("reader"), pinned)
	step(0, "99 Accepted, 1 Blocked", verb("verify", "--roots", file("root-keys.jwks")), as("reader"), pinned)
	step(1, "name the key that replaced it", verb("push", file("all.csv")), as("publisher"), sign("list-key.jwk"))
	step(0, "1 put, 1 removed", verb("push", file("all.csv")), as("publisher"), sign("new/list-key.jwk"))
	step(1, "second publisher", verb("push", file("all.csv"), "--sign", file("new/list-key.jwk"), "--store", file("elsewhere")), as("publisher"))
	step(0, "pushed via-roma-12 version 2.1", verb("push", file("all.csv"), "--sign", file("new/list-key.jwk"), "--store", file("elsewhere"), "--new-epoch"), as("publisher"))
	step(0, "starts a session", verb("explain", "04A1B205", "--station", "washer", "--roots", file("root-keys.jwks")), as("reader"))
	step(1, "connect to tls:", verb("verify", "--broker", url, "--ca", file("ca.pem"), "--list", "via-roma-12"), pinned)
}

const explainCSV = "uid,status,account,origin,role,services,stations,validUntil\n" +
	"04A1B2C3,,r-1,,,laundry,,\n04A1B2C4,Blocked,r-2,,,,,\n04A1B2C5,,r-3,third-party,,,,\n04A1B2C6,,r-4,,,,garage-17,\n04A1B2C7,,r-5,,master,,,\n04A1B2C8,,r-6,,,,,2026-01-01T00:00:00Z\n"

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	csv := filepath.Join(dir, "list.csv")
	if err := os.WriteFile(csv, []byte(explainCSV), 0o600); err != nil {
		t.Fatal(err)
	}
	reference := "--config ../internal/gateway/badged.toml --at 2026-07-01T12:00"
	for _, c := range []struct{ args, want string }{
		{"04A1B2C3 " + reference, "washer (laundry): Accepted: starts a session"},
		{"04A1B2C3 " + reference, "garage-17 (charging): NotAllowedTypeEVSE, WrongService: does nothing"},
		{"04:a1:b2:c3 --station washer " + reference, "04A1B2C3 on"},
		{"04A1B2C3 --station washer --config ../internal/gateway/badged.toml --at 2026-07-05T12:00", "OutsideHours"}, // a Sunday
		{"04A1B2C3 --station washer --config ../internal/gateway/badged.toml --at unknown", "Accepted"},
		{"04A1B2C3 --station washer --hours 07:00-21:00 --timezone Europe/Zurich --at 2026-07-01T20:00:00Z", "OutsideHours"},
		{"04A1B2C4 " + reference, "a session that it has begun ends as soon as the gateway has this list"},
		{"04A1B2C4 " + reference, "a cycle that it has begun runs out"},
		{"04A1B2C5 --station washer", "ThirdPartyBadge"},
		{"04A1B2C5 --station washer --billing statements", "Accepted: starts"},
		{"04A1B2C3 --station p --kind charging", "WrongService"},
		{"04A1B2C4 --station p --kind charging --private", "Blocked"},
		{"04A1B2C6 --station garage-17 --kind charging --private", "Accepted: starts"},
		{"04A1B2C7 --station washer", "it ends whatever session is open here"},
		{"04A1B2C8 --station washer", "Expired, ExpiredBadge"},
		{"30949AD1 --station washer", "Unknown, UnknownBadge: does nothing: the badge is not on the list"},
		{"04A1B2C3 --station washer --sak 28", "DualInterface"},
		{"08A1B2C3 --station washer", "RandomUID"},
	} {
		args := append([]string{"list", "explain", "--csv", csv}, strings.Fields(c.args)...)
		if out, errOut, code := badgectl(t, args...); code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("%s: got %q, %q, exit %d, want %q", c.args, out, errOut, code, c.want)
		}
	}
	out, _, _ := badgectl(t, "list", "explain", "04A1B2C4", "--csv", csv, "--station", "washer", "--json")
	var x explanation
	if err := json.Unmarshal([]byte(out), &x); err != nil || len(x.Stations) != 1 || x.Stations[0].Reason != "BlockedBadge" || len(x.Stations[0].Checks) == 0 || x.Entry.Account != "r-2" {
		t.Errorf("got %s, %v, want it as JSON", out, err)
	}
	for _, c := range []struct{ args, want string }{
		{"04A1B2C3 --csv " + csv, "no station to explain"},
		{"04A1B2C3 --csv " + csv + " --config ../internal/gateway/badged.toml --station dryer", `has no station "dryer"`},
		{"1234567890 --csv " + csv + " --station washer", "ambiguous"},
		{"04A1B2C3 --station washer", "no list to look at"},
		{"04A1B2C3 --station washer --list l --store " + filepath.Join(dir, "none"), "--csv F"},
		{"04A1B2C3 --station washer --csv " + csv + " --at soon", "want a time"},
		{"04A1B2C3 --station washer --list l --broker tcp://127.0.0.1:1", "nobody to trust"},
	} {
		if _, errOut, code := badgectl(t, append([]string{"list", "explain"}, strings.Fields(c.args)...)...); code != 1 || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: got %q, exit %d, want %q", c.args, errOut, code, c.want)
		}
	}
}

// Every reason that Authorize or a master's badge can have has words.
func TestReasonsHaveWords(t *testing.T) {
	for _, r := range session.Reasons() {
		atTap := slices.Contains([]session.Status{session.ConcurrentTx}, r.Status()) || slices.Contains([]session.Reason{session.StationDisabled,
			session.StationFaulted, session.StorageFull, session.StorageFault, session.NoStation, session.NoSession, session.MultipleCards, session.ListUnreadable}, r)
		if (words[r] == "") != atTap {
			t.Errorf("%s: got words %q, want some: %t", r, words[r], !atTap)
		}
	}
}
