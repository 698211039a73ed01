package provision

import (
	"os"
	"path/filepath"
	"strings"
)

// Lights that boards have themselves, by the names that kernels gave them.
var lights = []string{"ACT", "led0", "PWR"}

// shine has the board's own light blink fast after a refusal, and be what it was
// otherwise. It is the one light that is there before anything is configured; a
// board without it shows nothing.
func (b *Board) shine(refused bool) {
	for _, name := range lights {
		dir := filepath.Join(b.root, "/sys/class/leds", name)
		trigger, err := os.ReadFile(filepath.Join(dir, "trigger"))
		if err != nil {
			continue
		}
		blinks := strings.Contains(string(trigger), "[timer]")
		set := func(file, value string) { os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644) }
		switch {
		case refused:
			set("trigger", "timer")
			set("delay_on", "100")
			set("delay_off", "100")
		case blinks:
			set("trigger", "mmc0")
		}
		return
	}
}
