// Package control is the local door of the gateway: HTTP with JSON on a unix
// socket, for the technician beside the board and for the world of the
// simulator.
//
// Serve opens a socket for any handler and Client calls one; Handler is the
// gateway's own set of endpoints, and Hub carries its events to those who watch.
// Whoever may open the socket may use it: its mode and group are the guard.
package control
