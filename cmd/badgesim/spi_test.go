package main_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"periph.io/x/devices/v3/mfrc522"

	"badged/cmd/internal/control"
	"badged/reader/readertest"
)

// A driver that knows nothing of us reads a card on the chip that badgesim offers.
func TestForeignDriverReadsOnTheWorldsChip(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "chip")
	start(t, program(t, "badgesim"), "world", dir, "--spi-listen", path)
	var chip *readertest.Remote
	eventually(t, "the chip's socket", func() (ok bool) {
		var err error
		chip, err = readertest.Dial("unix", path)
		return err == nil
	})
	defer chip.Close()
	dev, err := mfrc522.NewSPI(chip, chip.ResetPin(), chip.IRQPin())
	if err != nil {
		t.Fatal(err)
	}
	world := control.NewClient(filepath.Join(dir, control.WorldSocket))
	tapped := make(chan error, 1)
	go func() {
		tapped <- world.Post(t.Context(), "/v1/tap", control.Tap{Cards: []control.Card{{UID: "04A1B2C3"}}, ForMs: 3000}, nil)
	}()
	for range 3 {
		uid, err := dev.ReadUID(10 * time.Second)
		if got := fmt.Sprintf("%X", uid); err != nil || got != "04A1B2C3" {
			t.Errorf("got %s, %v, want 04A1B2C3", got, err)
		}
	}
	if err := <-tapped; err != nil {
		t.Error(err)
	}
}

// The gateway drives a chip that connects to it, and one that comes again after
// whoever emulates it was killed.
func TestGatewayDrivesAChipThatConnects(t *testing.T) {
	dir := t.TempDir()
	path, socket := filepath.Join(dir, "driver"), filepath.Join(dir, "c.sock")
	world := start(t, program(t, "badgesim"), "world", dir, "--spi-connect", path)
	config := filepath.Join(dir, "badged.toml")
	eventually(t, "the desk's config", func() bool { return exec.Command("test", "-S", filepath.Join(dir, control.WorldSocket)).Run() == nil })
	start(t, program(t, "badgesim"), "gateway", dir, "--config", config, "--socket", socket, "--spi-listen", path)
	gateway := control.NewClient(socket)
	state := func(want string) func() bool {
		return func() bool {
			var s control.Status
			return gateway.Get(t.Context(), "/v1/status", &s) == nil && s.Readers[0].State == want
		}
	}
	for _, uid := range []string{"04A1B2C3", "30949AD1"} {
		eventually(t, "a reader that is ready", state("ready"))
		out, err := exec.Command(program(t, "badgectl"), "--socket", socket, "--json", "tap", uid).CombinedOutput()
		var got struct{ UID, Type string }
		if json.Unmarshal(out, &got) != nil || err != nil || got.UID != uid || got.Type != "classic-1k" {
			t.Errorf("got %s, %v, want a decision about %s", out, err, uid)
		}
		world.Process.Kill()
		eventually(t, "reader lost", state("lost"))
		world = start(t, program(t, "badgesim"), "world", dir, "--spi-connect", path)
	}
}
