// Package uplink speaks MQTT 3.1.1 with the billing company's broker: signed
// lists and commands come in, ledger records, telemetry and status go out.
//
// The broker is a cache and a carrier, never a witness. A list counts because
// its head is signed and its pieces hash to what the head says; a record counts
// as received because the backend says so, not because the broker took it. So
// the gateway needs the broker neither at start nor to serve a tap.
//
// One paho client lives for one connection ([Dial]); [Client] makes the next
// one. Within a connection one goroutine owns the list, one the outbox and one
// the status, and the first error ends all of them and the connection.
package uplink
