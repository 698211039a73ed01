package config

import (
	"strings"
	"testing"
)

func TestSetLeavesAllElseAlone(t *testing.T) {
	ref := reference(t)
	for _, tc := range []struct{ key, value, from, to string }{
		{"gateway.id", "gw-9", `id = "gw-0042"  `, `id = "gw-9"  `},
		{"station[1].serial", `WB "2"\`, `"WB-2209-0117"`, `"WB \"2\"\\"`},
		{"reader[0].gain_db", "38", "gain_db = 33", "gain_db = 38"},
		{"station[1].private", "0", "private = true", "private = false"},
		{"station[0].idle_for", "20m", `idle_for = "8m"`, `idle_for = "20m"`},
		{"station[1].meter.unit", "3", "unit = 1", "unit = 3"},
		{"broker.user", "bob", "[broker]\n", "[broker]\nuser = \"bob\"\n"},
		{"station[0].meter.unit", "2", "[station.meter]\ntype = \"s0\"", "[station.meter]\nunit = 2\ntype = \"s0\""},
	} {
		got, err := Set([]byte(ref), tc.key, tc.value)
		if want := strings.Replace(ref, tc.from, tc.to, 1); err != nil || string(got) != want || want == ref {
			t.Errorf("%s: got %v and\n%s", tc.key, err, got)
		}
	}
}

func TestSetMakesATable(t *testing.T) {
	got, err := Set([]byte("[gateway]\nid = \"a\""), "panel.green", "GPIO5")
	if want := "[gateway]\nid = \"a\"\n\n[panel]\ngreen = \"GPIO5\"\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestSetRefuses(t *testing.T) {
	for key, value := range map[string]string{
		"gateway.idd": "x", "gateway": "x", "station.id": "x", "station[7].id": "x", "station[0]": "x",
		"reader[0].gain_db": "much", "station[0].private": "perhaps", "id": "x", "": "x", "station[0].meter": "s0",
	} {
		if got, err := Set([]byte(reference(t)), key, value); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: got %v and %d bytes, want an error that names the key", key, err, len(got))
		}
	}
}
