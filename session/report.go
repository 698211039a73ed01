package session

// Report has the journal keep a piece of telemetry from outside the stations,
// such as a reader that broke: kind is Telemetry.Type, and body is written as
// JSON. Like all telemetry it may be lost.
func (c *Controller) Report(kind string, body any) { c.post(item{event: report{kind, body}}) }

type report struct {
	kind string
	body any
}

func (r report) apply(w *step) { w.tell(r.kind, r.body) }
