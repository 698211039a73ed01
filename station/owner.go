package station

import (
	"fmt"

	"github.com/warthog618/go-gpiocdev/uapi"
)

// Owner is who uses the line called name, as the kernel knows it; "" is nobody.
// It is an error if no chip of the board has such a line, or none can be opened.
func (c *Chips) Owner(name string) (who string, err error) {
	ch, info, err := c.find(name)
	if err != nil {
		return "", fmt.Errorf("look at line %s: %w", name, err)
	}
	defer ch.Close()
	if !info.Flags.IsUsed() {
		return "", nil
	}
	return user(info), nil
}

// user names who has a line that is used.
func user(info uapi.LineInfoV2) string {
	if who := uapi.BytesToString(info.Consumer[:]); who != "" {
		return who
	}
	return "the kernel"
}
