// Package station is what the station can do: close a relay, count a meter,
// show people a signal. It decides nothing.
package station
