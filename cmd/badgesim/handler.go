package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"badged/cmd/internal/control"
	"badged/mifare/mifaretest"
	"badged/reader/readertest"
	"badged/session"
)

// tapFor is how long a person holds a badge to a reader.
const tapFor = 500 * time.Millisecond

type done struct{}

// handler has what people do at the desk; badgectl calls it.
func (w *world) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/tap", control.Call(w.tap))
	mux.Handle("POST /v1/load", control.Call(w.load))
	mux.Handle("POST /v1/plug", control.Call(w.plug))
	mux.Handle("POST /v1/fault", control.Call(w.fault))
	mux.Handle("POST /v1/clock", control.Call(w.setClock))
	mux.Handle("GET /v1/history", control.Call(func(context.Context, done) ([]control.Change, error) { return w.told(), nil }))
	mux.Handle("GET /v1/state", control.Call(func(context.Context, done) (control.World, error) { return w.state(), nil }))
	return mux
}

// tap holds cards to a reader and returns when they are gone again.
func (w *world) tap(ctx context.Context, t control.Tap) (done, error) {
	chip, err := w.reader(t.Reader)
	if err != nil {
		return done{}, err
	}
	var cards []mifaretest.PICC
	for _, c := range t.Cards {
		p, err := virtualCard(c)
		if err != nil {
			return done{}, err
		}
		cards = append(cards, p)
	}
	hold := tapFor
	if t.ForMs > 0 {
		hold = time.Duration(t.ForMs) * time.Millisecond
	}
	for i, c := range cards {
		w.noteCard(control.ChangePut, t.Reader, t.Cards[i].UID)
		chip.Put(c)
		defer func() {
			chip.Remove(c)
			w.noteCard(control.ChangeRemoved, t.Reader, t.Cards[i].UID)
		}()
	}
	select {
	case <-ctx.Done():
	case <-time.After(hold):
	}
	return done{}, nil
}

// load makes a station's machine draw power whenever its relay lets it.
func (w *world) load(_ context.Context, r control.Load) (done, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m, err := w.find(r.Station)
	if err != nil {
		return done{}, err
	}
	if r.Watts < 0 || r.Watts > 100_000 {
		return done{}, fmt.Errorf("%v W: want 0 to 100000", r.Watts)
	}
	m.watts = r.Watts
	w.note(control.Change{What: control.ChangeLoad, Station: r.Station, Watts: r.Watts})
	return done{}, nil
}

// plug puts the cable into a car or takes it out.
func (w *world) plug(_ context.Context, r control.Plug) (done, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m, err := w.find(r.Station)
	if err != nil {
		return done{}, err
	}
	if m.station.Kind != session.Charging || m.station.Plug == "" {
		return done{}, fmt.Errorf("station %s has no plug", r.Station)
	}
	m.plugged = r.On
	w.note(control.Change{What: control.ChangePlug, Station: r.Station, On: r.On})
	w.lines.Drive(m.station.Plug, r.On)
	return done{}, nil
}

// fault breaks a reader's chip in one way, or mends it.
func (w *world) fault(_ context.Context, r control.Fault) (done, error) {
	chip, err := w.reader(r.Reader)
	if err != nil {
		return done{}, err
	}
	if r.Kind == "clear" {
		chip.Clear()
		return done{}, nil
	}
	f, err := readertest.ParseFault(r.Kind)
	if err != nil {
		return done{}, err
	}
	chip.Inject(f)
	return done{}, nil
}

func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
