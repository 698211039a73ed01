package uplinktest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// Start runs a broker of a kind, on which anybody may do anything: "mochi", in this
// process, which keeps nothing over a restart; "mosquitto", "nats" and "rabbitmq"
// are programs that must be installed.
func Start(t testing.TB, kind string) *Server {
	t.Helper()
	s := newServer(t)
	switch kind {
	case "mochi":
		s.start = s.mochi
	case "mosquitto":
		lines := "allow_anonymous true\npersistence true\npersistence_location " + s.dir + "/"
		s.start = func() func(syscall.Signal) { return s.mosquitto(lines) }
	case "nats":
		s.start = s.nats
	case "rabbitmq":
		s.start = s.rabbitmq
	default:
		t.Fatalf("unknown broker %q", kind)
	}
	return s.open()
}

// Mosquitto runs a Mosquitto with the lines of its config that follow the
// listener's.
func Mosquitto(t testing.TB, lines string) *Server {
	t.Helper()
	s := newServer(t)
	s.start = func() func(syscall.Signal) { return s.mosquitto(lines) }
	return s.open()
}

func (s *Server) mochi() (end func(syscall.Signal)) {
	m := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := m.AddHook(new(auth.AllowHook), nil); err != nil {
		s.t.Fatal(err)
	}
	if err := m.AddListener(listeners.NewTCP(listeners.Config{ID: "t", Address: s.Addr})); err != nil {
		s.t.Fatal(err)
	}
	if err := m.Serve(); err != nil {
		s.t.Fatal(err)
	}
	return func(syscall.Signal) { m.Close() }
}

func (s *Server) mosquitto(lines string) (end func(syscall.Signal)) {
	host, port, _ := net.SplitHostPort(s.Addr)
	// Started by root it would become another user, who reads no test's files.
	return s.program(nil, "mosquitto", "-c", s.file("mosquitto.conf",
		fmt.Sprintf("user root\nlog_type all\nlistener %s %s\n%s\n", port, host, lines)))
}

// nats serves MQTT out of JetStream, which keeps sessions and retained messages.
func (s *Server) nats() (end func(syscall.Signal)) {
	host, port, _ := net.SplitHostPort(s.Addr)
	return s.program(nil, "nats-server", "-c", s.file("nats.conf", fmt.Sprintf(`
server_name: badged
listen: "127.0.0.1:-1"
jetstream: {store_dir: %q}
mqtt: {host: %q, port: %s}
`, s.dir, host, port)))
}

// rabbitmq is a node of its own, with its own port mapper. It lets nobody in
// without a password.
func (s *Server) rabbitmq() (end func(syscall.Signal)) {
	const user, password, salt = "badged", "secret", "salt"
	s.broker.User, s.broker.PasswordFile = user, s.file("password", password)
	hash := sha256.Sum256([]byte(salt + password))
	users := s.file("users.json", fmt.Sprintf(`{"vhosts": [{"name": "/"}],
"users": [{"name": %q, "password_hash": %q, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": []}],
"permissions": [{"user": %[1]q, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}]}`,
		user, base64.StdEncoding.EncodeToString(append([]byte(salt), hash[:]...))))
	config := s.file("rabbitmq.conf", fmt.Sprintf(`
listeners.tcp = none
mqtt.listeners.tcp.1 = %s
load_definitions = %s
log.console = true
log.file = false
`, s.Addr, users))
	_, mapper, _ := strings.Cut(newServer(s.t).Addr, ":")
	_, nodes, _ := strings.Cut(newServer(s.t).Addr, ":")
	endMapper := s.program(nil, "epmd", "-port", mapper, "-address", "127.0.0.1")
	endNode := s.program([]string{
		"HOME=" + s.dir, "ERL_EPMD_PORT=" + mapper, "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME=badged@localhost", "RABBITMQ_DIST_PORT=" + nodes,
		"RABBITMQ_MNESIA_BASE=" + s.dir, "RABBITMQ_LOG_BASE=" + s.dir, "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_CONFIG_FILE=" + config, "RABBITMQ_ENABLED_PLUGINS_FILE=" + s.file("plugins", "[rabbitmq_mqtt].\n"),
		"ERL_CRASH_DUMP=" + s.dir + "/crash",
	}, "/usr/lib/rabbitmq/bin/rabbitmq-server") // the one in the PATH becomes another user
	return func(sig syscall.Signal) {
		endNode(sig)
		endMapper(sig)
	}
}
