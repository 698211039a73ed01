package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"badged/uplink"
)

// The checks of values by themselves: each gives the value back, or the default
// where the file has none, and notes what is wrong with it.

func (p *problems) need(key, value, want string) string {
	if value == "" {
		p.add(key, "missing; want %s", want)
	}
	return value
}

func (p *problems) id(key, value string) string {
	if uplink.CheckID(value) != nil {
		p.add(key, "%q: want 1 to 64 of a-z, 0-9 and -", value)
	}
	return value
}

// head reads the form EPOCH.VERSION, which list show prints.
func (p *problems) head(key, value string) (h Head) {
	if value == "" {
		return h
	}
	epoch, version, _ := strings.Cut(value, ".")
	var err, err2 error
	h.Epoch, err = strconv.ParseUint(epoch, 10, 63)
	h.Version, err2 = strconv.ParseUint(version, 10, 63)
	if err != nil || err2 != nil || h.Epoch == 0 || h.Version == 0 {
		p.add(key, `%q: want epoch and version of the list's head, such as "1.118", as badgectl list show prints them`, value)
	}
	return h
}

// longer refuses a duration below the least that makes sense.
func (p *problems) longer(key string, d, least time.Duration) time.Duration {
	if d < least {
		p.add(key, "%v: want at least %v", d, least)
	}
	return d
}

// spelling refuses keys that the TOML library takes in spite of their capitals.
func (p *problems) spelling() {
	for _, key := range slices.Sorted(maps.Keys(p.ix)) {
		if lower := strings.ToLower(key); lower != key {
			p.add(key, "unknown key; want %s", lower)
		}
	}
}

func (p *problems) oneOf(key, value, def string, allowed ...string) string {
	if value == "" {
		value = def
	}
	if !slices.Contains(allowed, value) {
		p.add(key, "%q: want one of %q", value, allowed)
	}
	return value
}

// within is value, or def where the file has none. NaN is within nothing.
func (p *problems) within(key string, value, def, low, high float64) float64 {
	if _, given := p.ix[key]; !given {
		return def
	}
	if !(value >= low && value <= high) {
		p.add(key, "%v: want %v to %v", value, low, high)
	}
	return value
}

func (p *problems) power(key string, value *float64, def float64) float64 {
	if value == nil {
		return def
	}
	return p.within(key, *value, 0, 0, 100_000)
}

func (p *problems) zone(key, name string) *time.Location {
	if name == "" {
		name = "UTC"
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		p.add(key, `%q: want a name of the IANA time zone database, such as "Europe/Zurich"`, name)
		return time.UTC
	}
	return zone
}
