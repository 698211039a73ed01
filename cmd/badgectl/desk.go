package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"badged/cmd/internal/control"
)

// cardFlags describe a card beside its UID.
type cardFlags struct {
	Type string `placeholder:"T" help:"Kind of card, such as classic-1k or desfire-ev1 (an unknown one lists them)."`
	ATQA string `placeholder:"A" name:"atqa" help:"ATQA in transmission order, such as 0400."`
	SAK  string `placeholder:"S" name:"sak" help:"The final SAK, such as 08."`
	ATS  string `placeholder:"X" name:"ats" help:"ATS with TL, without CRC."`
}

type tapCmd struct {
	UIDs []string `arg:"" name:"uid" help:"UID in hex; several are held to the reader together."`
	cardFlags
	Reader string        `placeholder:"R" help:"Reader (default: the first one)."`
	For    time.Duration `placeholder:"D" help:"How long, such as 500ms."`
}

// tapResult is what tap prints; its shape is stable.
type tapResult struct {
	UID           string `json:"uid"`
	Type          string `json:"type"`
	Verdict       string `json:"verdict"`
	Status        string `json:"status"`
	Reason        string `json:"reason"`
	Station       string `json:"station"`
	TransactionID string `json:"transactionId"`
}

// decisionTimeout is how long tap waits for the gateway after the card has come.
const decisionTimeout = 10 * time.Second

var errDecided = errors.New("decided")

// Run puts the card into the field and waits for the gateway's own word on it.
func (t *tapCmd) Run(e *env) error {
	ctx, cancel := context.WithTimeoutCause(e.ctx, t.For+decisionTimeout, errNoDecision)
	defer cancel()
	var got control.Event
	tapped := make(chan error, 1)
	ready := func() { go func() { tapped <- t.hold(ctx, e, cancel) }() }
	err := e.gateway().Watch(ctx, ready, func(ev control.Event) error {
		if ev.Kind != "decision" && ev.Kind != "enrolled" || !t.mine(ev) {
			return nil
		}
		got = ev
		return errDecided
	})
	if !errors.Is(err, errDecided) {
		return t.undecided(ctx, tapped, err)
	}
	if err := <-tapped; err != nil {
		return err
	}
	return e.print(t.result(got), func(w io.Writer) { printTap(w, t.result(got), got) })
}

var errNoDecision = errors.New("the gateway decided nothing\nhint: look at badgectl status for the reader; a badge that left less than a second ago still counts as there, and badges that are held there at once have one decision together")

// hold asks the world; an error there ends the wait for a decision.
func (t *tapCmd) hold(ctx context.Context, e *env, cancel context.CancelFunc) error {
	req := control.Tap{Reader: t.Reader, ForMs: t.For.Milliseconds()}
	for _, uid := range t.UIDs {
		req.Cards = append(req.Cards, control.Card{UID: uid, Type: t.Type, ATQA: t.ATQA, SAK: t.SAK, ATS: t.ATS})
	}
	err := e.world().Post(ctx, "/v1/tap", req, nil)
	if err != nil {
		cancel()
	}
	return err
}

// undecided says why there is no decision, the world's refusal first.
func (t *tapCmd) undecided(ctx context.Context, tapped chan error, err error) error {
	select {
	case worldErr := <-tapped:
		if worldErr != nil {
			return worldErr
		}
	default:
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

// mine tells whether a decision is about one of our cards: events carry UIDs masked.
func (t *tapCmd) mine(ev control.Event) bool {
	if t.Reader != "" && ev.Reader != t.Reader {
		return false
	}
	return t.uidOf(ev) != "" || ev.UID == "" && ev.Reader != "" || len(t.UIDs) > 1
}

func (t *tapCmd) uidOf(ev control.Event) string {
	for _, u := range t.UIDs {
		if token, err := tokenOf(u); err == nil && token.Masked() == ev.UID {
			return string(token)
		}
	}
	return ""
}

func (t *tapCmd) result(ev control.Event) tapResult {
	return tapResult{t.uidOf(ev), ev.Type, ev.Verdict, ev.Status, ev.Reason, ev.Station, ev.TransactionID}
}

func printTap(w io.Writer, r tapResult, ev control.Event) {
	fmt.Fprintf(w, "%s  %s, %s\n", r.UID, r.Type, r.Verdict)
	if ev.Kind == "enrolled" {
		fmt.Fprintln(w, "  "+enrolledText)
		return
	}
	fmt.Fprintf(w, "  %s", r.Status)
	if r.Reason != "" {
		fmt.Fprintf(w, " (%s)", r.Reason)
	}
	if r.Station != "" {
		fmt.Fprintf(w, " at %s", r.Station)
	}
	if ev.Text != "" {
		fmt.Fprintf(w, ": %s", ev.Text)
	}
	fmt.Fprintln(w)
	if r.TransactionID != "" {
		fmt.Fprintf(w, "  transaction %s\n", r.TransactionID)
	}
}

type loadCmd struct {
	Station string  `arg:"" help:"Station, such as washer."`
	Watts   float64 `arg:"" help:"What the machine draws while its relay lets it."`
}

// Run tells the world.
func (l *loadCmd) Run(e *env) error {
	return e.world().Post(e.ctx, "/v1/load", control.Load{Station: l.Station, Watts: l.Watts}, nil)
}

type plugCmd struct {
	Station string `arg:"" help:"Station, such as charger."`
	State   string `arg:"" enum:"on,off" help:"on: the cable is in the car; off: it is not."`
}

// Run tells the world.
func (p *plugCmd) Run(e *env) error {
	return e.world().Post(e.ctx, "/v1/plug", control.Plug{Station: p.Station, On: p.State == "on"}, nil)
}

type faultCmd struct {
	Reader string `arg:"" help:"Reader, such as hall."`
	Kind   string `arg:"" help:"What breaks (an unknown one lists them), or clear."`
}

// Run tells the world.
func (f *faultCmd) Run(e *env) error {
	return e.world().Post(e.ctx, "/v1/fault", control.Fault{Reader: f.Reader, Kind: f.Kind}, nil)
}
