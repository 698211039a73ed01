package gateway

import (
	"errors"
	"io"
	"log/slog"
	"os"

	"badged/cmd/internal/config"
)

// ExitConfig is the exit code for a config that is wrong, or cannot be had: starting
// the daemon again cannot help (EX_CONFIG of sysexits.h).
const ExitConfig = 78

// Load reads the config of a gateway that is to start, and looks at the files that
// it cannot start without.
func Load(path string) (config.Config, error) {
	c, err := config.Load(path)
	if err != nil {
		return c, err
	}
	return c, c.Startable()
}

// ExitCode is how a program ends that Load or Run gave err.
func ExitCode(err error) int {
	var bad *config.Error
	if errors.As(err, &bad) {
		return ExitConfig
	}
	return 1
}

// ExitUsage ends a program whose flags were wrong with the code that other GNU
// programs give them.
func ExitUsage(code int) {
	if code != 0 {
		code = 2
	}
	os.Exit(code)
}

// NewLogger writes text to w, without the time: journald stamps every line.
func NewLogger(w io.Writer, verbose bool) *slog.Logger {
	o := &slog.HandlerOptions{ReplaceAttr: withoutTime}
	if verbose {
		o.Level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
