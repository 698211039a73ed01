package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"badged/cmd/internal/control"
	"badged/cmd/internal/durable"
	"badged/session"
)

// bundle writes what support needs to know. Everything in it goes through a veil.
func (c *doctorCmd) bundle(e *env, checks []control.Check) (err error) {
	f, err := os.OpenFile(c.Bundle, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	zip := gzip.NewWriter(f)
	t := tar.NewWriter(zip)
	v := newVeil()
	for _, part := range c.parts(e, checks) {
		b := v.draw(part.text(e.ctx))
		h := &tar.Header{Name: "badged-support/" + part.name, Mode: 0o600, Size: int64(len(b)), ModTime: time.Now()}
		if err = t.WriteHeader(h); err != nil {
			break
		}
		if _, err = t.Write(b); err != nil {
			break
		}
	}
	if err = errors.Join(err, t.Close(), zip.Close(), f.Sync(), f.Close()); err != nil {
		os.Remove(c.Bundle)
		return fmt.Errorf("write bundle: %w", err)
	}
	fmt.Fprintf(e.err, "wrote %s: look into it before you send it: tar -xzOf %s | less\n", c.Bundle, c.Bundle)
	return nil
}

// part is one file of a bundle; what cannot be had says why instead.
type part struct {
	name string
	text func(context.Context) []byte
}

func (c *doctorCmd) parts(e *env, checks []control.Check) []part {
	return []part{
		{"report.txt", func(context.Context) []byte {
			var b bytes.Buffer
			printReport(&b, e, checks)
			return b.Bytes()
		}},
		{"checks.json", func(context.Context) []byte { return indented(checks, nil) }},
		{"status.json", func(context.Context) []byte {
			s, err := status(e)
			for i := range s.Stations {
				s.Stations[i].Account = "" // whose session it is helps nobody here
			}
			return indented(s, err)
		}},
		{"records.json", func(ctx context.Context) []byte {
			var records []json.RawMessage
			err := e.gateway().Get(ctx, "/v1/records", &records)
			return indented(records, err)
		}},
		{"badged.toml", func(context.Context) []byte {
			b, err := durable.ReadFile(c.Config)
			if err != nil {
				return []byte(err.Error())
			}
			return b
		}},
		{"journal.txt", output("journalctl", "--no-pager", "-o", "short-iso", "-n", "5000", "-u", "badged", "-u", "badged-provision")},
		{"kernel.txt", output("journalctl", "--no-pager", "-o", "short-iso", "-n", "500", "-k", "-p", "warning")},
		{"system.txt", output("sh", "-c", "uname -a; cat /etc/os-release; uptime; df -h; free -m; systemctl status badged --no-pager -n 0; "+
			"timedatectl; ip -br link; ls -l /dev/spidev* /dev/gpiochip* /dev/i2c-* /dev/ttyUSB*; gpioinfo; dpkg -l badged")},
	}
}

func indented(v any, err error) []byte {
	if err != nil {
		return []byte(err.Error())
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return []byte(err.Error())
	}
	return b
}

// commandTimeout is how long a command may take whose output is wanted.
const commandTimeout = 20 * time.Second

func output(name string, args ...string) func(context.Context) []byte {
	return func(ctx context.Context) []byte {
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		b, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
		if err != nil {
			b = append(b, fmt.Sprintf("\n(%s: %v)\n", name, err)...)
		}
		return b
	}
}

// veil hides badges and secrets in text. A badge is the same stand-in throughout
// one bundle; the key to it is forgotten, so that nobody can try all UIDs.
type veil struct{ key []byte }

func newVeil() veil {
	key := make([]byte, 32)
	rand.Read(key) // never fails: crypto/rand
	return veil{key}
}

var (
	// uidText is a UID as logs and records have it: whole, or with its middle left out.
	uidText = regexp.MustCompile(`\b(?:[0-9A-F]{20}|[0-9A-F]{14}|[0-9A-F]{8}|[0-9A-F]{4}…[0-9A-F]{2})\b`)
	// secrets should be in none of the parts; somebody may have put one there.
	secrets = []*regexp.Regexp{
		regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`),
		regexp.MustCompile(`"d"\s*:\s*"[^"]*"`),
		regexp.MustCompile(`(?i)\b(?:password|passwd|passphrase|secret|token|psk)["']?\s*[=:]\s*(?:"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|[^\s,;]+)`),
		regexp.MustCompile(`(?i)://[^\s/@"]+:[^\s/@"]+@`),
	}
)

// draw returns text without secrets, and with stand-ins for badges.
func (v veil) draw(text []byte) []byte {
	for _, s := range secrets {
		text = s.ReplaceAll(text, []byte("(removed)"))
	}
	return uidText.ReplaceAllFunc(text, func(uid []byte) []byte {
		m := hmac.New(sha256.New, v.key)
		masked := string(uid)
		if !strings.Contains(masked, "…") { // whole and masked ones come out the same
			masked = session.IDToken(uid).Masked()
		}
		m.Write([]byte(masked))
		return []byte("badge-" + hex.EncodeToString(m.Sum(nil)[:6]))
	})
}
