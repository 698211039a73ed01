package control_test

import (
	"errors"
	"fmt"
	"testing"

	"badged/cmd/internal/control"
)

// torn is an error that knows what to do.
type torn struct{}

func (torn) Error() string { return "torn" }
func (torn) Hint() string  { return "solder it" }

func TestFailedCheckSaysWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		err      error
		text, do string
	}{
		"advice of the check":  {errors.New("broken"), "broken", "look"},
		"hint in the words":    {fmt.Errorf("open: %w", errors.New("broken\nhint: mend")), "open: broken", "mend"},
		"error with a hint":    {fmt.Errorf("antenna: %w", torn{}), "antenna: torn", "solder it"},
		"two errors":           {errors.Join(errors.New("broken"), errors.New("not closed")), "broken; not closed", "look"},
		"a hint before others": {errors.Join(errors.New("broken\nhint: mend"), errors.New("not closed")), "broken", "mend; not closed"},
	} {
		t.Run(name, func(t *testing.T) {
			want := control.Check{Name: "wire", State: control.CheckFail, Text: c.text, Do: c.do}
			if got := control.Failed(c.err, "look").Named("wire"); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}
