package gateway

import (
	"context"
	"time"

	"badged/cmd/internal/config"
	"badged/cmd/internal/control"
	"badged/cmd/internal/provision"
)

// Doctor examines the gateway while it works, from the board outwards: what is
// wrong there explains what is wrong further on. With a reader named, or a sweep,
// it looks at readers alone.
func (d door) Doctor(ctx context.Context, e control.Examination) ([]control.Check, error) {
	if e.Reader != "" || e.GainSweep {
		return d.examineReaders(ctx, e)
	}
	out := Examine(ctx, d.cfg, d.hw, d.clock.Now())
	trial, err := provision.OpenTrial(d.cfg.File, d.cfg.State)
	if err != nil {
		d.log.Warn("trial of the configuration not known", "err", err)
	}
	out = append(out, checkProvisioning(d.provision, trial != nil))
	readers, err := d.examineReaders(ctx, e)
	if err != nil {
		return nil, err
	}
	out = append(out, readers...)
	s := d.status()
	out = append(out, examineStations(d.cfg, s.Stations)...)
	out = append(out, checkClock(s.Clock, d.clock.settler()))
	out = append(out, d.examineDatabases(ctx)...)
	out = append(out, checkBroker(s.Broker), checkList(d.cfg, s.List, s.Broker.Connected, s.Clock), checkLedger(d.cfg, s.Ledger.Outbox), d.checkTaps())
	return append(out, checkKnownFaults(s.Faults)...), nil
}

// Examine has the checks that need no running gateway: board, devices and lines,
// the config and the files that it names, certificates, disk, and the broker's
// name. now is the time that certificates are judged by. It may take seconds.
func Examine(ctx context.Context, c config.Config, hw Hardware, now time.Time) []control.Check {
	out := hw.Examine(c)
	out = append(out, examineConfig(c)...)
	out = append(out, examineCertificates(c, now)...)
	out = append(out, examineDisk(c.State)...)
	return append(out, checkName(ctx, c.Broker.URL.Hostname()).Named("name service"))
}
