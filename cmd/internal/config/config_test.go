package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"badged/session"
)

func reference(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../gateway/badged.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReferenceConfig(t *testing.T) {
	c, err := Parse(strings.NewReader(reference(t)), "/etc/badged/badged.toml")
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != "gw-0042" || c.Billing != session.Managed || c.Timezone.String() != "Europe/Zurich" {
		t.Errorf("got gateway %s, %s, %v", c.ID, c.Billing, c.Timezone)
	}
	if want := "/etc/badged/gateway.key"; c.Broker.Key != want {
		t.Errorf("got key file %s, want it beside the config: %s", c.Broker.Key, want)
	}
	if want := "/etc/badged/command-keys.jwks"; c.CommandKeys != want {
		t.Errorf("got command keys %s, want %s", c.CommandKeys, want)
	}
	if want := 30 * 24 * time.Hour; c.List.MaxAge != want {
		t.Errorf("got max age %v, want %v", c.List.MaxAge, want)
	}
	washer, garage := c.Stations[0], c.Stations[1]
	if washer.IdleFor != 8*time.Minute || washer.IdlePower != 15 || washer.StationConfig.Meter != true || washer.MeterPower {
		t.Errorf("got washer %+v", washer)
	}
	if !garage.Private || !garage.RelayActiveLow || !garage.StationConfig.Plug || !garage.MeterPower {
		t.Errorf("got garage %+v", garage)
	}
}

// The comments of the reference promise defaults: uncommented they change nothing.
func TestReferenceNamesEveryKeyWithItsDefault(t *testing.T) {
	plain, err := Parse(strings.NewReader(reference(t)), "x.toml")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^# ([a-z_]+ = )`).ReplaceAllString(reference(t), "$1")
	for _, optional := range []string{"site_key", "password_file", "run_time", "display", "head"} { // absent by default
		all = regexp.MustCompile(`(?m)^`+optional+` = .*$`).ReplaceAllString(all, "")
	}
	spelled, err := Parse(strings.NewReader(all), "x.toml")
	if err != nil {
		t.Fatal(err)
	}
	if plain.Broker.RetryMax != spelled.Broker.RetryMax || plain.Readers[0] != spelled.Readers[0] ||
		plain.Stations[0].ResumeWithin != spelled.Stations[0].ResumeWithin || plain.Stations[0].StandbyPower != spelled.Stations[0].StandbyPower {
		t.Errorf("a default in the comments is not the program's:\n%+v\n%+v", plain, spelled)
	}
}

func TestWrongConfigs(t *testing.T) {
	ref := reference(t)
	for _, tc := range []struct {
		what, from, to string
		line           string // a piece of the line that the error must name
		key, says      string
	}{
		{"unknown key", `site = "via-roma-12"`, `sight = "via-roma-12"`, "sight", "gateway.sight", "unknown key"},
		{"unknown table", "[panel]", "[pannel]", "[pannel]", "pannel", "unknown key"},
		{"wrong type", `speed_mhz = 4`, `speed_mhz = "fast"`, "speed_mhz", "speed_mhz", ""},
		{"no TOML", `unit = 1`, `unit = = 1`, "unit = = 1", "", ""},
		{"value out of range", `gain_db = 33`, `gain_db = 35`, "gain_db = 35", "reader[0].gain_db", "18, 23, 33"},
		{"unknown word", `billing = "managed"`, `billing = "mangaed"`, "mangaed", "gateway.billing", `"managed" "statements"`},
		{"id for topics", `id = "gw-0042"`, `id = "GW 42"`, "GW 42", "gateway.id", "a-z, 0-9"},
		{"duration without unit", `idle_for = "8m"`, `idle_for = "8"`, `idle_for = "8"`, "idle_for", "unit"},
		{"duration without quotes", `idle_for = "8m"`, `idle_for = 8`, `idle_for = 8`, "station[0].idle_for", "unit"},
		{"text that is a number", `site = "via-roma-12"`, `site = 12`, `site = 12`, "gateway.site", "integer; want text in quotes"},
		{"zone that is none", `Europe/Zurich`, `Europe/Zuerich`, "Zuerich", "gateway.timezone", "IANA"},
		{"broker without scheme", `tls://broker`, `broker`, `"broker.example`, "broker.url", "tls://"},
		{"hours", `Mo-Sa 07:00-21:00`, `Mo-Sa 7-9pm`, "7-9pm", "station[0].hours", "07:00-21:00"},
		{"reader that is none", `reader = "hall"`, `reader = "hole"`, `reader = "hole"`, "station[0].reader", `"hall"`},
		{"pin used twice", `red = "GPIO6"`, `red = "GPIO5"`, `red = "GPIO5"`, "panel.red", "panel.green"},
		{"pin of the SPI bus", `relay = "GPIO17"`, `relay = "GPIO9"`, `relay = "GPIO9"`, "station[0].relay", "/dev/spidev0.0"},
		{"station twice", `id = "garage-17"`, `id = "washer"`, "", "station[1].id", "twice"},
		{"window too short for the pulses", `idle_for = "8m"`, `idle_for = "5m"`, `idle_for = "5m"`, "station[0].idle_for", "6m0s"},
		{"laundry without an end", "type = \"s0\"  ", "type = \"none\"  ", "[station.meter]", "station[0].meter", "run_time"},
		{"relay forgotten", `relay = "GPIO16" `, `# `, "[[station]]", "station[1].relay", "GPIO17"},
		{"key in capitals", `gain_db = 33`, `Gain_DB = 33`, "Gain_DB", "reader[0].Gain_DB", "gain_db"},
		{"not a number", `idle_power_w = 15.0`, `idle_power_w = nan`, "idle_power_w", "station[0].idle_power_w", "want 0 to"},
		{"zero where there is none", `pulses_per_kwh = 1000`, `pulses_per_kwh = 0`, "pulses_per_kwh", "station[0].meter.pulses_per_kwh", "want 1 to"},
		{"device without its folder", `spi = "/dev/spidev0.0"`, `spi = "spidev0.0"`, "spi =", "reader[0].spi", "/dev/spidev0.0"},
		{"password in the URL", `tls://broker`, `tls://bob:secret@broker`, "bob", "broker.url", "password_file"},
		{"list that is always too old", `max_age = "30d"`, `max_age = "0s"`, "max_age", "list.max_age", "at least"},
		{"head without epoch", `max_age = "30d"`, `head = "118"`, "head =", "list.head", "1.118"},
		{"meter without port", `address = "192.0.2.7:502"`, `address = "192.0.2.7"`, "address", "station[1].meter.address", "host and port"},
		{"window longer than all", `idle_for = "8m"`, `idle_for = "7h"`, "idle_for", "station[0].idle_for", "max_duration"},
		{"washer with a plug", `door_release = "10m"`, "door_release = \"10m\"\nplug = \"GPIO26\"", "plug", "station[0].plug", "no plug"},
		{"key without cert", `cert = "gateway.pem"`, ``, "[broker]", "broker.cert", "together"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			doc := strings.Replace(ref, tc.from, tc.to, 1)
			if doc == ref {
				t.Fatalf("nothing to replace: %s", tc.from)
			}
			_, err := Parse(strings.NewReader(doc), "badged.toml")
			var bad *Error
			if !errors.As(err, &bad) {
				t.Fatalf("got %v, want an Error", err)
			}
			p := bad.Problems[0]
			if !strings.Contains(p.Key, tc.key) || !strings.Contains(p.Text, tc.says) {
				t.Errorf("got %s: %s, want key %s and %q", p.Key, p.Text, tc.key, tc.says)
			}
			if lines := strings.Split(doc, "\n"); p.Line < 1 || !strings.Contains(lines[p.Line-1], tc.line) {
				t.Errorf("got line %d of %q, want the one with %q", p.Line, p.Key, tc.line)
			}
		})
	}
}

func TestWithoutCommandKeysNoCommandsAreTaken(t *testing.T) {
	doc := strings.Replace(reference(t), `keys = "command-keys.jwks"`, "", 1)
	c, err := Parse(strings.NewReader(doc), "/etc/badged/badged.toml")
	if err != nil || c.CommandKeys != "" {
		t.Errorf("got command keys %q, %v, want none", c.CommandKeys, err)
	}
}

func TestAllProblemsComeAtOnce(t *testing.T) {
	doc := strings.NewReplacer(`gain_db = 33`, `gain_db = 1`, `red = "GPIO6"`, `red = "GPIO5"`).Replace(reference(t))
	_, err := Parse(strings.NewReader(doc), "badged.toml")
	if err == nil || strings.Count(err.Error(), "badged.toml:") != 2 {
		t.Errorf("got %v, want two problems", err)
	}
}

func TestPipesAndEmptyFiles(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, os.DevNull} {
		if _, err := Load(path); err == nil || err.Error() != path+": file: empty; is it the right one? The reference config has all keys" {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	b, _ := os.ReadFile("../gateway/badged.toml")
	f.Add(string(b))
	f.Add("[[station]]\nmeter = 1")
	f.Fuzz(func(t *testing.T, doc string) {
		c, err := Parse(strings.NewReader(doc), "x.toml")
		if err == nil && (len(c.Readers) == 0 || len(c.Stations) == 0) {
			t.Error("a config without readers or stations was accepted")
		}
	})
}

func TestFilesAreBesideWhatALinkNames(t *testing.T) {
	dir := t.TempDir()
	version := filepath.Join(dir, "versions", "0001")
	if err := os.MkdirAll(version, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(version, "badged.toml"), []byte(reference(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "badged.toml")
	if err := os.Symlink("versions/0001/badged.toml", link); err != nil {
		t.Fatal(err)
	}
	c, err := Load(link)
	if want := filepath.Join(version, "ca.pem"); err != nil || c.Broker.CA != want {
		t.Errorf("got %s, %v, want %s", c.Broker.CA, err, want)
	}
}

func TestNothingToLogInWithIsNoted(t *testing.T) {
	for from, noted := range map[string]bool{"": false, `key = "gateway.key"`: true} {
		doc := reference(t)
		if from != "" {
			doc = strings.Replace(strings.Replace(doc, from, "", 1), `cert = "gateway.pem"`, "", 1)
		}
		c, err := Parse(strings.NewReader(doc), "badged.toml")
		if err != nil {
			t.Fatal(err)
		}
		if notes, _ := c.Check(); strings.Contains(strings.Join(notes, "\n"), "nothing to log in with") != noted { // its files are not here
			t.Errorf("without %q: got %q, want it noted: %t", from, notes, noted)
		}
	}
}

// A relay that closes with a low level is closed while the board starts where its
// line is pulled down.
func TestRelaysThatCloseAtBootAreNoted(t *testing.T) {
	for _, tt := range []struct {
		line, active string
		noted        bool
	}{{"GPIO16", "low", true}, {"GPIO16", "high", false}, {"GPIO4", "low", false}, {"GPIO27", "low", true}, {"PA07", "low", false}} {
		c := Config{Stations: []Station{{Relay: tt.line, RelayActiveLow: tt.active == "low"}}}
		if got := c.closedAtBoot(); (len(got) > 0) != tt.noted {
			t.Errorf("%s, active %s: got %q, want a note: %t", tt.line, tt.active, got, tt.noted)
		}
	}
}
