// Package model says where Modbus meters have their energy and power. It opens
// nothing, so that a config can be checked where no meter is.
package model

import (
	_ "embed" // models.txt
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/simonvetter/modbus"
)

//go:embed models.txt
var models string

// Model tells where a Modbus meter has its energy and its power.
type Model struct {
	Energy Quantity  // in mWh
	Power  *Quantity // in W; nil where there is none
}

// Quantity is a number in consecutive registers.
type Quantity struct {
	Table   modbus.RegType
	Address uint16
	form    form
	scale   float64 // mWh or W for one of it
}

// Words is how many registers it has.
func (q Quantity) Words() uint16 { return uint16(q.form.words) }

// Value is what Words registers say, in mWh or W.
func (q Quantity) Value(words []uint16) float64 { return q.form.decode(words) * q.scale }

// form is how a number is written in 16-bit registers, the high one first
// unless lowFirst.
type form struct {
	words    int
	signed   bool
	float    bool
	lowFirst bool
}

var forms = map[string]form{
	"uint16":    {words: 1},
	"int16":     {words: 1, signed: true},
	"uint32":    {words: 2},
	"int32":     {words: 2, signed: true},
	"uint64":    {words: 4},
	"int64":     {words: 4, signed: true},
	"float32":   {words: 2, float: true},
	"uint32-le": {words: 2, lowFirst: true},
	"int32-le":  {words: 2, signed: true, lowFirst: true},
}

// units has mWh for energy, W for power.
var energyUnits = map[string]float64{"kWh": 1e6, "Wh": 1e3, "mWh": 1}

var powerUnits = map[string]float64{"kW": 1e3, "W": 1}

// Parse returns the meter of that name ("sdm630"), or the one that s itself
// describes: "input:0x0156:float32:kWh" and, after a space where the meter has
// power too, "input:0x0034:float32:W". The fields are the table (input or
// holding), the address on the wire, the form (uint16, int16, uint32, int32,
// uint64, int64, float32; uint32-le and int32-le have the low word first), and
// the unit, with a factor before it where there is one ("0.1kWh").
func Parse(s string) (Model, error) {
	var names []string
	for line := range strings.Lines(models) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if names = append(names, f[0]); f[0] == s {
			return parseModel(f[1:])
		}
	}
	if f := strings.Fields(s); strings.Contains(s, ":") {
		return parseModel(f)
	}
	return Model{}, fmt.Errorf("unknown meter %q: want one of %q, or its registers, as in %q",
		s, names, "input:0x0156:float32:kWh input:0x0034:float32:W")
}

func parseModel(f []string) (m Model, err error) {
	if len(f) < 1 || len(f) > 2 {
		return m, fmt.Errorf("meter with %d registers: want energy, and power where there is one", len(f))
	}
	if m.Energy, err = parseQuantity(f[0], energyUnits); err != nil || len(f) == 1 {
		return m, err
	}
	power, err := parseQuantity(f[1], powerUnits)
	m.Power = &power
	return m, err
}

func parseQuantity(s string, units map[string]float64) (q Quantity, err error) {
	f := strings.Split(s, ":")
	if len(f) != 4 {
		return q, fmt.Errorf("register %q: want table:address:form:unit", s)
	}
	switch f[0] {
	case "input":
		q.Table = modbus.INPUT_REGISTER
	case "holding":
		q.Table = modbus.HOLDING_REGISTER
	default:
		return q, fmt.Errorf("register %q: table %q, want input or holding", s, f[0])
	}
	address, err := strconv.ParseUint(f[1], 0, 16)
	if err != nil {
		return q, fmt.Errorf("register %q: address %q, want 0 to 0xFFFF", s, f[1])
	}
	q.Address = uint16(address)
	var ok bool
	if q.form, ok = forms[f[2]]; !ok {
		return q, fmt.Errorf("register %q: form %q, want one like float32 or int32", s, f[2])
	}
	if q.scale, ok = parseUnit(f[3], units); !ok {
		return q, fmt.Errorf("register %q: unit %q, want one like kWh or 0.1kWh for energy, W or 0.1W for power", s, f[3])
	}
	return q, nil
}

func parseUnit(s string, units map[string]float64) (scale float64, ok bool) {
	i := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if i < 0 {
		return 0, false
	}
	factor := 1.0
	if i > 0 {
		var err error
		if factor, err = strconv.ParseFloat(s[:i], 64); err != nil {
			return 0, false
		}
	}
	unit, ok := units[s[i:]]
	return factor * unit, ok && factor > 0
}

// decode reads a number from as many words as its form has.
func (f form) decode(words []uint16) float64 {
	words = slices.Clone(words)
	if f.lowFirst {
		slices.Reverse(words)
	}
	var u uint64
	for _, w := range words {
		u = u<<16 | uint64(w)
	}
	unused := 64 - 16*f.words
	switch {
	case f.float:
		return float64(math.Float32frombits(uint32(u)))
	case f.signed:
		return float64(int64(u<<unused) >> unused)
	}
	return float64(u)
}
