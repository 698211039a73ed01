package control

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// socketEnv names the variable that stands in for --socket.
const socketEnv = "BADGED_SOCKET"

// GatewaySocket is the name of the gateway's socket: at the desk in DeskDir.
const GatewaySocket = "control.sock"

// systemSocket is that of an installed gateway.
const systemSocket = "/run/badged/" + GatewaySocket

// DaemonSocket is where an installed gateway opens its door: flag if it is
// given, else $BADGED_SOCKET, else /run/badged/control.sock.
func DaemonSocket(flag string) string {
	if path := named(flag); path != "" {
		return path
	}
	return systemSocket
}

// installed is there once the package is.
const installed = "/etc/badged"

// SocketPath is where a gateway's door is to be found: as DaemonSocket, but
// where nobody names one and no installed gateway has opened its door, the desk's.
func SocketPath(flag string) string {
	if path := named(flag); path != "" {
		return path
	}
	return doorOf(systemSocket, installed, filepath.Join(DeskDir(), GatewaySocket))
}

// doorOf tells a board from a desk. A door that may not be looked at is a board's,
// and one that nobody has opened too, where no desk is: else its technician would
// be told of a desk.
func doorOf(system, installed, desk string) string {
	if there(system) || there(installed) && !there(desk) {
		return system
	}
	return desk
}

func there(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func named(flag string) string {
	if flag != "" {
		return flag
	}
	return os.Getenv(socketEnv)
}

// DeskDir is the simulator's default state folder, under $XDG_STATE_HOME, or
// $HOME/.local/state, or for a user without a home under the temporary folder.
func DeskDir() string {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "badgesim")
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "badgesim")
	}
	return filepath.Join(os.TempDir(), "badgesim-"+strconv.Itoa(os.Getuid()))
}
