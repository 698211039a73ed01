package control

import (
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

// SocketPath is where a gateway's door is to be found: as DaemonSocket, but
// where nobody names one and no installed gateway has opened its door, the desk's.
func SocketPath(flag string) string {
	if path := named(flag); path != "" {
		return path
	}
	if _, err := os.Stat(systemSocket); err == nil {
		return systemSocket
	}
	return filepath.Join(DeskDir(), GatewaySocket)
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
