package session_test

import (
	"encoding/csv"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"badged/session"
)

// part is one part of a program's load curve.
type part struct {
	name                     string
	seconds                  int
	watts, burst             float64
	burstSeconds, burstEvery int
}

func (p part) power(second int) float64 {
	if p.burstEvery > 0 && second%p.burstEvery < p.burstSeconds {
		return p.burst
	}
	return p.watts
}

// curves reads testdata/curves.csv: name, and parts in order.
func curves(t *testing.T) map[string][]part {
	f, err := os.Open("testdata/curves.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]part{}
	for _, row := range rows[1:] {
		var n [5]float64
		for i := range n {
			if n[i], err = strconv.ParseFloat(row[i+2], 64); err != nil {
				t.Fatal(err)
			}
		}
		all[row[0]] = append(all[row[0]], part{row[1], int(n[0]), n[1], n[2], int(n[3]), int(n[4])})
	}
	return all
}

// meterModel turns true power into the samples of one kind of meter.
type meterModel struct {
	power      bool
	every      int                    // seconds between samples without news
	resolution session.MilliWattHours // of the register
}

var meterModels = map[string]meterModel{
	"S0 at 1000 imp/kWh":        {false, 60, 1000},
	"Modbus, register of 10 Wh": {true, 5, 10_000},
	"Modbus, register of 1 Wh":  {true, 1, 1000},
}

// machine is a laundry machine behind a station's relay and meter.
type machine struct {
	d     *desk
	id    string
	model meterModel
	total float64 // mWh drawn so far
	told  session.MilliWattHours
	over  time.Duration // Up when the program was over
	drawn float64       // mWh when it was
}

func (m *machine) run(parts []part) {
	for _, p := range parts {
		if p.name == "over" {
			m.over, m.drawn = m.d.now.Up, m.total
		}
		for s := range p.seconds {
			m.second(p.power(s), s)
		}
	}
}

func (m *machine) second(watts float64, s int) {
	m.d.tick(time.Second)
	if !m.d.state.Relay(m.id) {
		watts = 0
	}
	m.total += watts / 3.6
	register := session.MilliWattHours(m.total) / m.model.resolution * m.model.resolution
	if register == m.told && s%m.model.every != 0 {
		return
	}
	m.told = register
	m.d.do(session.MeterRead{Station: m.id, Sample: session.Sample{Register: register, Power: watts, HasPower: m.model.power}})
}

func newMachine(t *testing.T, model meterModel) (*desk, *machine) {
	c := station(session.Laundry, "washer")
	c.MeterPower = model.power
	d := newDesk(t, c)
	m := &machine{d: d, id: "washer", model: model}
	m.second(0, 0)
	return d, m
}

func TestLaundryProgramsEndWhenTheyAreOver(t *testing.T) {
	for program, parts := range curves(t) {
		for name, model := range meterModels {
			t.Run(program+"/"+name, func(t *testing.T) {
				d, m := newMachine(t, model)
				d.tap("AAAA0001")
				m.run(parts)
				wantProgram(t, d, m)
			})
		}
	}
}

// wantProgram wants one session that ends within the window after the program
// and has its energy, to two units of the register and the rest of the window.
func wantProgram(t *testing.T, d *desk, m *machine) {
	t.Helper()
	last := d.records[len(d.records)-1]
	if last.EventType != session.Ended || last.StoppedReason != session.StoppedOther {
		t.Fatalf("got records %q, want an end that is Other", d.kinds())
	}
	ends := 0
	for _, r := range d.records {
		if r.EventType == session.Ended {
			ends++
		}
	}
	if late := last.At.Up - m.over; ends != 1 || late < 0 || late > 10*time.Minute {
		t.Errorf("got %d ends, the last %v after the program, want one within 10m", ends, late)
	}
	slack := float64(2*m.model.resolution) + 2500
	if got := float64(last.Energy) * 1000; got < m.drawn-slack || got > m.drawn+slack {
		t.Errorf("got %.0f mWh, want %.0f ± %.0f", got, m.drawn, slack)
	}
	if len(last.Review) != 0 {
		t.Errorf("got marks %q, want none", last.Review)
	}
}

func TestLaundryThatIsNotStartedTimesOut(t *testing.T) {
	for name, model := range meterModels {
		t.Run(name, func(t *testing.T) {
			d, m := newMachine(t, model)
			d.tap("AAAA0001")
			m.run([]part{{"off", 13 * 3600, 0.2, 0, 0, 0}})
			d.wantKinds("Started Authorized ", "Ended EVConnectTimeout Timeout")
			want := int64(5 * 60)
			if !model.power {
				want = 12 * 3600
			}
			if got := d.records[1].Seconds; got != want {
				t.Errorf("got a time-out after %d s, want %d", got, want)
			}
			d.wantRelay("washer", false)
		})
	}
}

func TestSilentMeterEndsNothingBeforeMaxDuration(t *testing.T) {
	d, m := newMachine(t, meterModels["S0 at 1000 imp/kWh"])
	d.tap("AAAA0001")
	m.run([]part{{"heat", 600, 2000, 0, 0, 0}})
	d.do(session.MeterRead{Station: "washer", Sample: session.Sample{Lost: true, Why: "line GPIO27 busy"}})
	if got := d.m.Status(d.state, d.now.Up)[0]; got.MeterFault != "line GPIO27 busy" || got.Fault != "" {
		t.Errorf("got meter fault %q, relay fault %q, want the meter's own words", got.MeterFault, got.Fault)
	}
	d.tick(5 * time.Hour)
	d.wantRelay("washer", true)
	d.tick(time.Hour)
	d.wantKinds("Started Authorized ", "Updated ChargingStateChanged ", "Ended TimeLimitReached TimeLimitReached")
	if got := d.records[2].Review; !slices.Equal(got, []session.Review{session.ReviewMeterLost, session.ReviewEstimated}) {
		t.Errorf("got marks %q, want MeterLost, Estimated", got)
	}
}

func TestMeterThatComesBackIsBilledWithAMark(t *testing.T) {
	d, m := newMachine(t, meterModels["Modbus, register of 1 Wh"])
	d.tap("AAAA0001")
	m.run([]part{{"heat", 600, 2000, 0, 0, 0}})
	d.tick(6 * time.Minute) // silent, and found out by its silence
	if got := d.m.Status(d.state, d.now.Up)[0].MeterFault; got != "has said nothing for 5m0s" {
		t.Errorf("got meter fault %q of a meter that is silent for six minutes", got)
	}
	m.total += 200_000 // drawn meanwhile
	m.run([]part{{"wash", 600, 150, 0, 0, 0}, {"over", 900, 1, 0, 0, 0}})
	last := d.records[len(d.records)-1]
	if last.EventType != session.Ended || last.Energy < 557 || last.Energy > 560 {
		t.Errorf("got %s of %d Wh, want Ended of about 558", last.EventType, last.Energy)
	}
	if len(last.Review) != 1 || last.Review[0] != session.ReviewMeterLost {
		t.Errorf("got marks %q, want MeterLost", last.Review)
	}
}

func TestRegisterThatGoesBackOrJumpsIsMarkedAndNotBilled(t *testing.T) {
	for name, shift := range map[string]float64{"back": -300_000, "jump": 5_000_000} {
		t.Run(name, func(t *testing.T) {
			d, m := newMachine(t, meterModels["Modbus, register of 1 Wh"])
			d.tap("AAAA0001")
			m.run([]part{{"heat", 600, 2000, 0, 0, 0}})
			m.total += shift
			m.run([]part{{"wash", 600, 150, 0, 0, 0}, {"over", 900, 1, 0, 0, 0}})
			last := d.records[len(d.records)-1]
			if last.EventType != session.Ended || last.Energy < 355 || last.Energy > 361 {
				t.Errorf("got %s of %d Wh, want Ended of about 358", last.EventType, last.Energy)
			}
			if len(last.Review) != 1 || last.Review[0] != session.ReviewMeterBackward {
				t.Errorf("got marks %q, want MeterBackward", last.Review)
			}
		})
	}
}

func TestRelayNeverOpensInARunningCycle(t *testing.T) {
	stops := map[string]func(d *desk){
		"master": func(d *desk) { d.tap("0000CAFE") },
		"command": func(d *desk) {
			d.do(session.Commanded{Name: session.CommandStop, Station: "washer"})
		},
		"blocked": func(d *desk) {
			d.list["AAAA0001"] = session.Entry{UID: "AAAA0001", Status: session.Blocked}
			d.do(session.ListingChanged{Station: "washer", UID: "AAAA0001", Listing: d.listing("AAAA0001")})
		},
		"disabled": func(d *desk) { d.do(session.Commanded{Name: session.CommandDisable, Station: "washer"}) },
	}
	for name, stop := range stops {
		t.Run(name, func(t *testing.T) {
			d, m := newMachine(t, meterModels["S0 at 1000 imp/kWh"])
			d.tap("AAAA0001")
			m.run([]part{{"heat", 600, 2000, 0, 0, 0}})
			stop(d)
			m.run([]part{{"wash", 3600, 100, 0, 0, 0}})
			d.wantRelay("washer", true)
			m.run([]part{{"over", 1300, 1, 0, 0, 0}})
			d.wantRelay("washer", false)
		})
	}
}

func TestGarbageFromTheMeterIsNoReading(t *testing.T) {
	d, m := newMachine(t, meterModels["Modbus, register of 1 Wh"])
	d.tap("AAAA0001")
	m.run([]part{{"heat", 600, 2000, 0, 0, 0}})
	n := len(d.said)
	for _, s := range []session.Sample{
		{Register: -1}, {Register: math.MaxInt64}, {Register: math.MinInt64}, {Register: 1, Power: math.NaN(), HasPower: true},
		{Register: 1, Power: math.Inf(1), HasPower: true}, {Register: 0, Power: -2000, HasPower: true},
	} {
		for range 100 {
			d.tick(time.Second)
			d.do(session.MeterRead{Station: "washer", Sample: s})
		}
	}
	d.wantRelay("washer", true)
	m.run([]part{{"wash", 600, 150, 0, 0, 0}, {"over", 900, 1, 0, 0, 0}})
	if got := d.last(); got.EventType != session.Ended || got.Energy < 330 || got.Energy > 700 || len(got.Review) != 2 {
		t.Errorf("got %s of %d Wh with %q, want an end of what was metered, marked twice", got.EventType, got.Energy, got.Review)
	}
	if len(d.said) != n {
		t.Errorf("got %d decisions, want none", len(d.said)-n)
	}
}
