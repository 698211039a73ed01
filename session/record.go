package session

// Record is an entry of the billing ledger before the ledger gives it its
// place. Its JSON has strings, integers and booleans only, so that RFC 8785 has
// one form of it in every language.
type Record interface {
	// RecordType is the record's "type" in JSON.
	RecordType() string
}

// EventType says where in its transaction a TransactionEvent stands.
type EventType string

// OCPP 2.0.1 TransactionEventEnumType.
const (
	Started EventType = "Started"
	Updated EventType = "Updated"
	Ended   EventType = "Ended"
)

// Trigger is why a record was made (OCPP 2.0.1 TriggerReasonEnumType).
type Trigger string

// The triggers that this gateway uses.
const (
	TriggerAuthorized        Trigger = "Authorized"
	TriggerDeauthorized      Trigger = "Deauthorized"
	TriggerStopAuthorized    Trigger = "StopAuthorized"
	TriggerChargingState     Trigger = "ChargingStateChanged" // draw began or ceased, of a machine too
	TriggerEVDeparted        Trigger = "EVDeparted"
	TriggerMeterClock        Trigger = "MeterValueClock"
	TriggerTimeLimit         Trigger = "TimeLimitReached"
	TriggerConnectTimeout    Trigger = "EVConnectTimeout"
	TriggerRemoteStart       Trigger = "RemoteStart"
	TriggerRemoteStop        Trigger = "RemoteStop"
	TriggerAbnormalCondition Trigger = "AbnormalCondition" // power cut, meter lost
)

// StoppedReason is why a transaction ended (OCPP 2.0.1 ReasonEnumType).
type StoppedReason string

// The reasons that this gateway uses.
const (
	StoppedLocal            StoppedReason = "Local"
	StoppedRemote           StoppedReason = "Remote"
	StoppedDeAuthorized     StoppedReason = "DeAuthorized"
	StoppedEVDisconnected   StoppedReason = "EVDisconnected"
	StoppedMasterPass       StoppedReason = "MasterPass"
	StoppedPowerLoss        StoppedReason = "PowerLoss"
	StoppedTimeLimitReached StoppedReason = "TimeLimitReached"
	StoppedTimeout          StoppedReason = "Timeout"
	StoppedOther            StoppedReason = "Other" // the machine's program is over
)

// Review marks what a person should look at before it is billed.
type Review string

// The marks of this version.
const (
	ReviewMeterLost     Review = "MeterLost"     // the meter was silent in the session
	ReviewMeterBackward Review = "MeterBackward" // its register went back or jumped
	ReviewMeterDoubt    Review = "MeterDoubt"    // pulses may be missing: it chattered or came too fast
	ReviewEstimated     Review = "Estimated"     // the last reading is a checkpoint, not the end
	ReviewPowerLoss     Review = "PowerLoss"     // the board was off for a time in the session
	ReviewServiceTest   Review = "ServiceTest"   // a technician's test, never billed
	ReviewTimeUnknown   Review = "TimeUnknown"   // no wall clock can be given for it
)

// ListPoint names the list version that a decision was made on.
type ListPoint struct {
	Epoch   uint64 `json:"epoch"`
	Version uint64 `json:"version"`
}

// TransactionEvent reports a change of one session. Meter values are registers
// in Wh; Energy is what the session has used so far.
type TransactionEvent struct {
	EventType     EventType     `json:"eventType"`
	TransactionID string        `json:"transactionId"`
	SeqNo         int           `json:"seqNo"` // 0 for Started, then one more each
	TriggerReason Trigger       `json:"triggerReason"`
	StoppedReason StoppedReason `json:"stoppedReason,omitempty"`
	Offline       bool          `json:"offline"` // the broker was out of reach when it happened
	Station       string        `json:"station"`
	Kind          Service       `json:"kind"`
	Account       string        `json:"account"`
	UID           string        `json:"uid"` // HMAC under the site's key, or plain: see Config.UIDForm; "" of a test without a badge
	List          ListPoint     `json:"list"`
	MeterStart    int64         `json:"meterStart"` // Wh, register at Started
	MeterValue    int64         `json:"meterValue"` // Wh, register now
	Energy        int64         `json:"energy"`     // Wh, MeterValue - MeterStart
	Seconds       int64         `json:"seconds"`    // since Started, without the time that the board was off
	Review        []Review      `json:"review,omitempty"`
	At            Stamp         `json:"at"`
}

// RecordType is "TransactionEvent".
func (TransactionEvent) RecordType() string { return "TransactionEvent" }

// ClockAnchor ties the boot's own time to the wall clock, for every record of
// that boot, sent or not.
type ClockAnchor struct {
	At     Stamp  `json:"at"`
	Source string `json:"source"` // "kernel", "timesyncd", "chrony"; "ledger": known from earlier in this boot
	Why    string `json:"why"`    // "first", "daily", "step"
}

// RecordType is "ClockAnchor".
func (ClockAnchor) RecordType() string { return "ClockAnchor" }

// LedgerOpened is the first record of every ledger.
type LedgerOpened struct {
	Gateway string `json:"gateway"`
	Before  string `json:"before,omitempty"` // the ledger that it replaces, where one is known
	Why     string `json:"why"`              // "new", "damaged", "restored", "renamed"
	At      Stamp  `json:"at"`
}

// RecordType is "LedgerOpened".
func (LedgerOpened) RecordType() string { return "LedgerOpened" }

// Telemetry is an entry of the bounded ring beside the ledger: it may be lost.
type Telemetry struct {
	Type string `json:"type"` // "Decision", "Fault", "ListChange"
	At   Stamp  `json:"at"`
	Body any    `json:"body"`
}

// Commit is one change to make durable: all of it or nothing.
type Commit struct {
	// States replaces the stored state of the stations it names.
	States map[string][]byte
	// Records are appended to the ledger in order.
	Records []Record
	// Telemetry goes to the ring.
	Telemetry []Telemetry
}
