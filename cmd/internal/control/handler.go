package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Gateway is what the door opens to. Its methods are called from many
// goroutines; what they return is written as JSON.
type Gateway interface {
	Status() any
	Sessions() any
	// EnableStation enables or disables a station; an unknown one is an error.
	EnableStation(ctx context.Context, station string, on bool) error
	// TestRelay closes a station's relay for two seconds, as a service badge does. An
	// error says why it was not done.
	TestRelay(ctx context.Context, station string) error
	// Blink makes the gateway show itself to somebody who looks for it.
	Blink(ctx context.Context) error
	// Enrol identifies the next card at any reader instead of authorising it, and
	// waits a minute for it; while somebody waits already it is an error.
	Enrol(ctx context.Context) (Enrolment, error)
	// Doctor examines the gateway while it works; it may take seconds.
	Doctor(ctx context.Context, e Examination) ([]Check, error)
	// Records are the newest of the ledger, oldest first, for support: UIDs and
	// accounts are keyed hashes in them.
	Records(ctx context.Context) ([]json.RawMessage, error)
}

// Handler has the endpoints of a gateway:
//
//	GET  /v1/status
//	GET  /v1/sessions
//	GET  /v1/watch                    JSON lines, one Event each, until either side leaves
//	POST /v1/stations/{id}/enable
//	POST /v1/stations/{id}/disable
//	POST /v1/stations/{id}/test
//	POST /v1/blink
//	POST /v1/enrol                    answered with an Enrolment when a card has come
//	POST /v1/doctor                   Examination, answered with Checks
//	GET  /v1/records                  the newest records, without UIDs and accounts
func Handler(g Gateway, h *Hub) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/status", answer(g.Status))
	mux.Handle("GET /v1/sessions", answer(g.Sessions))
	mux.Handle("GET /v1/watch", watch(h))
	mux.Handle("POST /v1/stations/{id}/enable", order(func(ctx context.Context, id string) error { return g.EnableStation(ctx, id, true) }))
	mux.Handle("POST /v1/stations/{id}/disable", order(func(ctx context.Context, id string) error { return g.EnableStation(ctx, id, false) }))
	mux.Handle("POST /v1/stations/{id}/test", order(g.TestRelay))
	mux.Handle("POST /v1/blink", Call(func(ctx context.Context, _ struct{}) (struct{}, error) {
		return struct{}{}, g.Blink(ctx)
	}))
	mux.Handle("POST /v1/enrol", Call(func(ctx context.Context, _ struct{}) (Enrolment, error) {
		return g.Enrol(ctx)
	}))
	mux.Handle("POST /v1/doctor", Call(g.Doctor))
	mux.Handle("GET /v1/records", Call(func(ctx context.Context, _ struct{}) ([]json.RawMessage, error) {
		return g.Records(ctx)
	}))
	return mux
}

func answer(f func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, f()) }
}

// order makes a handler of what is done to the station in the path.
func order(f func(ctx context.Context, station string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(r.Context(), r.PathValue("id")); err != nil {
			writeError(w, http.StatusUnprocessableEntity, err)
			return
		}
		writeJSON(w, http.StatusOK, struct{}{})
	}
}

// maxBody bounds what a caller may send; the largest call is a card's bytes.
const maxBody = 1 << 20

// Call makes a handler of f: the request's body is its JSON argument (nothing
// is the zero value, an unknown field an error), its result the answer's JSON,
// and its error the answer's text, with HTTP status 422.
func Call[In, Out any](f func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := readJSON(http.MaxBytesReader(w, r.Body, maxBody), &in); err != nil {
			writeError(w, http.StatusBadRequest, fmt.Errorf("read request: %w", err))
			return
		}
		out, err := f(r.Context(), in)
		if err != nil {
			writeError(w, http.StatusUnprocessableEntity, err)
			return
		}
		writeJSON(w, http.StatusOK, out)
	}
}

// watchTimeout is how long one event may take to a watcher's buffer.
const watchTimeout = 5 * time.Second

func watch(h *Hub) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		events, stop := h.Watch()
		defer stop()
		c := http.NewResponseController(w)
		w.Header().Set("Content-Type", "application/jsonl")
		w.WriteHeader(http.StatusOK)
		// The caller knows from the header that nothing is missed from here on.
		for err := c.Flush(); err == nil; err = c.Flush() {
			select {
			case <-r.Context().Done():
				return
			case e, ok := <-events:
				if !ok {
					return
				}
				c.SetWriteDeadline(time.Now().Add(watchTimeout))
				if json.NewEncoder(w).Encode(e) != nil {
					return
				}
			}
		}
	}
}

type problem struct {
	Error string `json:"error"`
}

func writeError(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, problem{err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status = http.StatusInternalServerError
		b, _ = json.Marshal(problem{"write answer: " + err.Error()})
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(b, '\n')) // an error is the caller's leaving
}

func readJSON(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}
