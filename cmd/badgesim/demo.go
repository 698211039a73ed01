package main

import (
	"context"
	_ "embed" // the demo's config
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"badged/cmd/internal/control"
)

//go:embed demo.toml
var demoConfig string

// demo plays a story at a desk and believes only what a backend would hear over
// MQTT and what the world's own relays did, never the gateway's words.
type demo struct {
	out     io.Writer
	world   *world
	desk    *desk
	gateway *process
	heard   *listener
}

// stepTimeout is how long one thing may take to show.
const stepTimeout = 15 * time.Second

// runDemo plays the story in a folder of its own.
func runDemo(e *env, c *deskCmd) error {
	dir, err := os.MkdirTemp("", "badgesim-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d, err := openDesk(dir, deskOpts{template: demoConfig})
	if err != nil {
		return err
	}
	defer d.Close()
	noise := io.Discard
	if c.Verbose {
		noise = e.err
	}
	ctx, done := context.WithCancel(e.ctx)
	defer done()
	var verdict error
	err = d.runWorld(ctx, c.worldFlags, "", worldLog(e, c.Verbose), func(ctx context.Context, w *world) error {
		defer done() // the end of the story is the end of the world
		w.lines.Weld(c.WeldRelay)
		p := &demo{out: e.out, world: w, desk: d, gateway: &process{args: d.gatewayArgs(&deskCmd{}), out: noise}}
		verdict = p.play(ctx)
		return nil
	})
	if err == nil {
		err = verdict
	}
	return err
}

// play tells the story; the first step that does not come out ends it.
func (d *demo) play(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	d.heard = listen(ctx, d.desk.cfg)
	gone := make(chan error, 1)
	go func() { gone <- d.gateway.run(ctx) }()
	defer func() { stop(); <-gone }()

	began := time.Now()
	for i, s := range d.story() {
		at := time.Now()
		if err := s.do(ctx); err != nil {
			fmt.Fprintf(d.out, "%2d. FAILED  %s\n", i+1, s.title)
			return fmt.Errorf("demo step %d, %s: %w", i+1, s.title, err)
		}
		fmt.Fprintf(d.out, "%2d. ok %5.1f s  %s\n", i+1, time.Since(at).Seconds(), s.title)
	}
	fmt.Fprintf(d.out, "the whole story came out, in %.1f s\n", time.Since(began).Seconds())
	return nil
}

type storyStep struct {
	title string
	do    func(ctx context.Context) error
}

func (d *demo) story() []storyStep {
	return []storyStep{
		{"the gateway comes up and has the signed list", d.comesUp},
		{"Anna's badge starts the washer: the relay closes, a Started record arrives", d.washStarts},
		{"Bruno's badge at the washer that runs: occupied, nothing changes", d.occupied},
		{"the washer runs dry: an Ended record with its energy, the door is released, the relay opens", d.washEnds},
		{"a DESFire card is the wrong kind of badge", d.refused("0426DF47D83C80", "DESFire")},
		{"a bank card is the wrong kind of badge", d.refused("0437125BED7B80", "TCL")},
		{"an unknown badge", d.refused("8D6FA144", "UnknownBadge")},
		{"a blocked badge", d.refused("485FD82E", "BlockedBadge")},
		{"a third party's badge on a managed site", d.refused("7C5E9033", "ThirdPartyBadge")},
		{"two badges at once", d.twoBadges},
		{"the broker is gone: a car charges all the same", d.withoutBroker},
		{"the broker is back: the records arrive, none missing", d.brokerBack},
		{"SIGKILL in mid-session: the relay does not move", d.killed},
		{"the same account's other badge ends the session, once", d.chargeEnds},
		{"the ledger is whole: every record follows from the one before", d.ledgerWhole},
	}
}

func (d *demo) comesUp(ctx context.Context) error {
	return d.await(ctx, "a status with the list in force", func() bool {
		s, ok := d.heard.status()
		return ok && s.List.Version > 0 && readersReady(s)
	})
}

func (d *demo) washStarts(ctx context.Context) error {
	d.load("washer", 2000)
	d.tap(ctx, "hall", "04A1B2C3")
	return errors.Join(
		d.await(ctx, "a Started record of the washer", func() bool { return d.heard.count("washer", "Started") == 1 }),
		d.await(ctx, "the washer's relay on", func() bool { return d.relay("washer") }))
}

func (d *demo) occupied(ctx context.Context) error {
	moves := d.moves()
	d.tap(ctx, "hall", "30949AD1")
	if err := d.await(ctx, "the decision StationOccupied", func() bool { return d.heard.decided("StationOccupied") == 1 }); err != nil {
		return err
	}
	return d.still(moves)
}

func (d *demo) washEnds(ctx context.Context) error {
	d.pause(ctx, 3*time.Second)
	d.load("washer", 3)
	if err := d.await(ctx, "an Ended record of the washer", func() bool { return d.heard.count("washer", "Ended") == 1 }); err != nil {
		return err
	}
	end, _ := d.heard.last("washer", "Ended")
	if drawn := d.world.state().Machines["washer"].Wh; end.Energy < 1 || float64(end.Energy) > drawn+1 {
		return fmt.Errorf("billed %d Wh, the washer drew %.1f Wh", end.Energy, drawn)
	}
	return d.await(ctx, "the washer's relay off", func() bool { return !d.relay("washer") })
}

// refused is a tap that must move nothing and say why.
func (d *demo) refused(uid, reason string) func(context.Context) error {
	return func(ctx context.Context) error {
		moves, before := d.moves(), d.heard.decided(reason)
		d.tap(ctx, "hall", uid)
		if err := d.await(ctx, "the decision "+reason, func() bool { return d.heard.decided(reason) == before+1 }); err != nil {
			return err
		}
		return d.still(moves)
	}
}

func (d *demo) twoBadges(ctx context.Context) error {
	moves := d.moves()
	d.tap(ctx, "hall", "04A1B2C3", "30949AD1")
	if err := d.await(ctx, "the decision MultipleCards", func() bool { return d.heard.decided("MultipleCards") == 1 }); err != nil {
		return err
	}
	return d.still(moves)
}

func (d *demo) withoutBroker(ctx context.Context) error {
	d.desk.broker.Stop()
	d.plug("charger", true)
	d.load("charger", 11000)
	d.tap(ctx, "garage", "04A1B2C3")
	return d.await(ctx, "the charger's relay on", func() bool { return d.relay("charger") })
}

func (d *demo) brokerBack(ctx context.Context) error {
	if n := d.heard.count("charger", "Started"); n != 0 {
		return fmt.Errorf("%d records came through a broker that was gone", n)
	}
	if err := d.desk.broker.Start(); err != nil {
		return err
	}
	if err := d.await(ctx, "a Started record of the charger", func() bool { return d.heard.count("charger", "Started") == 1 }); err != nil {
		return err
	}
	if start, _ := d.heard.last("charger", "Started"); !start.Offline {
		return errors.New("the record does not say that it was made offline")
	}
	return nil
}

func (d *demo) killed(ctx context.Context) error {
	moves := d.moves()
	before, _ := d.gateway.started()
	if err := d.gateway.kill(); err != nil {
		return err
	}
	err := d.await(ctx, "a new gateway process that is online", func() bool {
		s, ok := d.heard.status()
		n, at := d.gateway.started()
		return n > before && ok && s.Started.After(at) && readersReady(s)
	})
	if err != nil {
		return err
	}
	return d.still(moves)
}

func (d *demo) chargeEnds(ctx context.Context) error {
	d.pause(ctx, time.Second)
	d.tap(ctx, "garage", "9CFB136D")
	err := errors.Join(
		d.await(ctx, "an Ended record of the charger", func() bool { return d.heard.count("charger", "Ended") == 1 }),
		d.await(ctx, "the charger's relay off", func() bool { return !d.relay("charger") }))
	if err != nil {
		return err
	}
	start, _ := d.heard.last("charger", "Started")
	end, _ := d.heard.last("charger", "Ended")
	if start.TransactionID != end.TransactionID || end.StoppedReason != "Local" {
		return fmt.Errorf("got transaction %s stopped %s, want %s stopped Local", end.TransactionID, end.StoppedReason, start.TransactionID)
	}
	return nil
}

func (d *demo) ledgerWhole(ctx context.Context) error {
	if err := d.await(ctx, "the backend's acknowledgement of every record", d.heard.acknowledged); err != nil {
		return err
	}
	return d.heard.chain()
}

// await waits until something shows.
func (d *demo) await(ctx context.Context, what string, shows func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	for !shows() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not come within %v", what, stepTimeout)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (d *demo) pause(ctx context.Context, t time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(t):
	}
}

// still checks that no relay has moved since; a refusal has had its time by then.
func (d *demo) still(moves int) error {
	if now := d.moves(); now != moves {
		return fmt.Errorf("%d relays moved, want none", now-moves)
	}
	return nil
}

func (d *demo) tap(ctx context.Context, reader string, uids ...string) {
	t := control.Tap{Reader: reader}
	for _, u := range uids {
		t.Cards = append(t.Cards, control.Card{UID: u})
	}
	_, err := d.world.tap(ctx, t)
	d.must(err)
	// The next visit begins when this one is over for the reader too.
	d.pause(ctx, 300*time.Millisecond)
}

func (d *demo) load(station string, watts float64) {
	_, err := d.world.load(context.Background(), control.Load{Station: station, Watts: watts})
	d.must(err)
}

func (d *demo) plug(station string, on bool) {
	_, err := d.world.plug(context.Background(), control.Plug{Station: station, On: on})
	d.must(err)
}

// must is for the story's own mistakes: a card or a station that is not there.
func (d *demo) must(err error) {
	if err != nil {
		panic(err)
	}
}

func (d *demo) relay(station string) bool { return d.world.state().Machines[station].Relay }
func (d *demo) moves() int                { return len(d.world.state().Moves) }
