package session

// Forecast is what a tap would do, and why.
type Forecast struct {
	Decision Decision
	Checks   []Check // all that Authorize asks, with the answers
	// Ending is why the badge may not even end a session of its account, "" if it may.
	Ending Reason
	// Withdrawn tells that a session which the badge has begun is not its own any
	// more: charging ends at once, a washing cycle runs out.
	Withdrawn bool
}

// Foretell says what a tap of the badge would do at a station that is free and in
// order: it has a Machine decide about it. Of cfg the stations do not count.
func Foretell(cfg Config, station StationConfig, uid IDToken, l Listing, at Stamp) Forecast {
	station.Reader, station.Meter = "reader", false // which would have to be heard of first
	cfg.Stations, cfg.NewID = []StationConfig{station}, func() string { return "foretold" }
	_, out := NewMachine(cfg).Step(State{}, Moment{Stamp: at}, BadgeTapped{Reader: station.Reader, UID: uid, Listing: l})
	r := Request{Listing: l, Station: station, Billing: cfg.Billing, At: at, Zone: cfg.Zone}
	f := Forecast{Checks: Explain(r), Withdrawn: withdrawn(l)}
	r.Ending = true
	_, f.Ending = Authorize(r)
	if len(out.Decisions) > 0 {
		f.Decision = out.Decisions[0]
	}
	return f
}
