// Package audit compares what a backend stored of a gateway's sessions with what
// the world around that gateway did. It is the judge of the crash tests and
// shares no code with what it judges: it reads files, by the words of the
// contract (docs/backend.md, docs/sessions.md), with the standard library alone.
//
// It takes the story to be over: every machine at rest, every record
// acknowledged.
package audit

import (
	"fmt"
	"time"
)

// Site is what a judge has to know of the place.
type Site struct {
	Gateway  string
	SiteKey  []byte // of the HMAC in records
	Stations []Station
}

// Station is a machine, how it is metered and how long things take there.
type Station struct {
	ID, Reader string
	Charging   bool          // else laundry
	Pulse      float64       // Wh of a pulse; 0 for a meter that keeps its own register
	Release    time.Duration // the relay stays on after laundry
}

// Finding is something that must not be. Rule is one of the rules of Check.
type Finding struct{ Rule, Text string }

func (f Finding) String() string { return f.Rule + ": " + f.Text }

// Figures count what there was to look at.
type Figures struct {
	Ledgers, Records, Sessions    int
	Taps, Answers, Closings, Cuts int
	Lists                         int     // versions reported in force
	Wh                            float64 // that the machines drew
	Billed                        int64   // Wh in sessions
	Unattributed                  float64 // Wh, nobody's
	Lost                          float64 // Wh that neither has
	MayBeLost                     float64 // Wh of them that the documented loss allows
}

// Add sums figures of several stories.
func (f *Figures) Add(g Figures) {
	f.Ledgers += g.Ledgers
	f.Records += g.Records
	f.Sessions += g.Sessions
	f.Taps += g.Taps
	f.Answers += g.Answers
	f.Closings += g.Closings
	f.Cuts += g.Cuts
	f.Lists += g.Lists
	f.Wh += g.Wh
	f.Billed += g.Billed
	f.Unattributed += g.Unattributed
	f.Lost += g.Lost
	f.MayBeLost += g.MayBeLost
}

func (f Figures) String() string {
	return fmt.Sprintf("%d cuts, %d taps, %d answers, %d closings of relays, %d sessions in %d records of %d ledgers, %d lists in force; "+
		"%.1f Wh drawn, %d billed, %.1f nobody's, %.1f lost of %.1f that may be",
		f.Cuts, f.Taps, f.Answers, f.Closings, f.Sessions, f.Records, f.Ledgers, f.Lists,
		f.Wh, f.Billed, f.Unattributed, f.Lost, f.MayBeLost)
}

// audit is one judgement in the making.
type audit struct {
	site     Site
	log      world
	sessions []*session // by station and start
	findings []Finding
	figures  Figures
}

func (a *audit) find(rule, format string, args ...any) {
	a.findings = append(a.findings, Finding{rule, fmt.Sprintf(format, args...)})
}

// Check judges by these rules:
//
//	chain    records hash and follow one another, without a gap or a fork; so do ledgers
//	session  one Started, one Ended, seqNo without a gap, nothing said twice or taken back
//	answer   what a resident was told has a session
//	tap      each session is of one tap of that badge at that reader, each tap of one session
//	relay    no relay closes without a session, no session passes without its relay
//	energy   sessions and what is nobody's are what the meters counted, within the documented loss
//	time     a session's seconds are those that passed, whatever clocks said
//	list     a badge starts only what the list in force lets it, and no list comes back
func Check(site Site, records []Record, log []Entry) ([]Finding, Figures) {
	a := &audit{site: site, log: readWorld(log)}
	a.figures.Records = len(records)
	events := a.chain(records)
	a.gather(events)
	a.taps()
	a.answers()
	a.relays()
	a.energy()
	a.times()
	a.lists()
	a.figures.Taps, a.figures.Cuts, a.figures.Lists = len(a.log.taps), len(a.log.cuts), len(a.log.said)
	return a.findings, a.figures
}
