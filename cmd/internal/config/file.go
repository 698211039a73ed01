package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The shape of the file, as TOML gives it. Config is what comes out of it.
type file struct {
	Gateway  gatewayTable   `toml:"gateway"`
	Broker   brokerTable    `toml:"broker"`
	List     listTable      `toml:"list"`
	Commands commandsTable  `toml:"commands"`
	Reader   []readerTable  `toml:"reader"`
	Station  []stationTable `toml:"station"`
	Panel    panelTable     `toml:"panel"`
}

type gatewayTable struct {
	ID         string   `toml:"id"`
	Site       string   `toml:"site"`
	Billing    string   `toml:"billing"`
	Language   string   `toml:"language"`
	Timezone   string   `toml:"timezone"`
	State      string   `toml:"state"`
	UID        string   `toml:"uid"`
	SiteKey    string   `toml:"site_key"`
	MaxPerUser int      `toml:"max_sessions_per_account"`
	Retention  duration `toml:"retention"`
}

type brokerTable struct {
	URL          string   `toml:"url"`
	CA           string   `toml:"ca"`
	Cert         string   `toml:"cert"`
	Key          string   `toml:"key"`
	User         string   `toml:"user"`
	PasswordFile string   `toml:"password_file"`
	Ack          string   `toml:"ack"`
	RetryMin     duration `toml:"retry_min"`
	RetryMax     duration `toml:"retry_max"`
}

type listTable struct {
	Name     string   `toml:"name"`
	Keys     string   `toml:"keys"`
	RootKeys string   `toml:"root_keys"`
	Head     string   `toml:"head"`
	MaxAge   duration `toml:"max_age"`
}

type commandsTable struct {
	Keys string `toml:"keys"`
}

type readerTable struct {
	Name     string      `toml:"name"`
	SPI      string      `toml:"spi"`
	SpeedMHz float64     `toml:"speed_mhz"`
	Reset    string      `toml:"reset"`
	IRQ      string      `toml:"irq"`
	GainDB   int         `toml:"gain_db"`
	Poll     duration    `toml:"poll"`
	Dual     bool        `toml:"dual"`
	Plus     *bool       `toml:"plus"`
	TNP3xxx  bool        `toml:"tnp3xxx"`
	Shadow   shadowTable `toml:"shadow"`
}

type shadowTable struct {
	Dual    *bool `toml:"dual"`
	Plus    *bool `toml:"plus"`
	TNP3xxx *bool `toml:"tnp3xxx"`
}

type stationTable struct {
	ID           string     `toml:"id"`
	Kind         string     `toml:"kind"`
	Reader       string     `toml:"reader"`
	Relay        string     `toml:"relay"`
	RelayActive  string     `toml:"relay_active"`
	Private      bool       `toml:"private"`
	Serial       string     `toml:"serial"`
	Plug         string     `toml:"plug"`
	Select       string     `toml:"select"`
	Hours        string     `toml:"hours"`
	StartTimeout duration   `toml:"start_timeout"`
	DelayMax     duration   `toml:"delay_max"`
	StandbyPower *float64   `toml:"standby_w"`
	IdlePower    *float64   `toml:"idle_power_w"`
	IdleFor      duration   `toml:"idle_for"`
	EarliestEnd  duration   `toml:"earliest_end"`
	MaxDuration  duration   `toml:"max_duration"`
	DoorRelease  duration   `toml:"door_release"`
	RunTime      duration   `toml:"run_time"`
	ResumeWithin duration   `toml:"resume_within"`
	ResumeWait   duration   `toml:"resume_wait"`
	Meter        meterTable `toml:"meter"`
}

type meterTable struct {
	Type         string `toml:"type"`
	Pin          string `toml:"pin"`
	PulsesPerKWh int    `toml:"pulses_per_kwh"`
	Address      string `toml:"address"`
	Unit         int    `toml:"unit"`
	Model        string `toml:"model"`
	Baud         int    `toml:"baud"`
	Parity       string `toml:"parity"`
}

type panelTable struct {
	Green   string `toml:"green"`
	Red     string `toml:"red"`
	Buzzer  string `toml:"buzzer"`
	Display string `toml:"display"`
}

// duration is a time.Duration in the file: 90s, 5m, 12h, and 30d for days.
type duration struct {
	time.Duration
	set bool
}

// UnmarshalText reads Go's durations and days.
func (d *duration) UnmarshalText(b []byte) error {
	s := string(b)
	var err error
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		d.Duration = time.Duration(n * 24 * float64(time.Hour))
	} else {
		d.Duration, err = time.ParseDuration(s)
	}
	if err != nil || d.Duration < 0 {
		return fmt.Errorf(`duration %q: want a number with a unit, such as "90s", "5m", "12h" or "30d"`, s)
	}
	d.set = true
	return nil
}

// or is the duration, or def where the file has none.
func (d duration) or(def time.Duration) time.Duration {
	if !d.set {
		return def
	}
	return d.Duration
}
