package control

import (
	"os"
	"path/filepath"
	"strconv"
)

// socketEnv names the variable that stands in for --socket.
const socketEnv = "BADGED_SOCKET"

// The sockets of an installed gateway and, in DeskDir, of the simulator.
const (
	systemSocket = "/run/badged/control.sock"
	deskSocket   = "control.sock"
)

// SocketPath is where the gateway's door is: flag if it is given, else
// $BADGED_SOCKET, else the installed gateway's if it exists, else the desk's.
func SocketPath(flag string) string {
	if flag != "" {
		return flag
	}
	if env := os.Getenv(socketEnv); env != "" {
		return env
	}
	if _, err := os.Stat(systemSocket); err == nil {
		return systemSocket
	}
	return filepath.Join(DeskDir(), deskSocket)
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
