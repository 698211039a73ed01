// Package session decides what the station does: who is authorised, when a
// session starts and ends, what is reported and billed.
//
// Authorize and Machine are pure: they get the time and an event and return
// what to do. The Controller is the one goroutine that owns a Machine and turns
// its outcomes into relay, journal and panel through the ports of this package.
// The words are those of OCPP 2.0.1, the entry and record formats those of the
// MQTT contract in docs/asyncapi.yaml.
package session
