// Package station is what the station can do: drive a line, count a meter,
// show people a signal. It decides nothing.
package station
