package cachetest

import (
	"fmt"
	"os"
)

// Wreck overwrites six pages of 4 KiB in the middle of a database file, which may
// be open: what a card does that dies in one place. What is in its log stays.
func Wreck(path string) error {
	const page = 4096
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("wreck: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("wreck: %w", err)
	}
	defer f.Close()
	_, err = f.WriteAt(make([]byte, 6*page), st.Size()/2/page*page)
	return err
}
