package gateway

import (
	"fmt"
	"path/filepath"
	"slices"

	"badged/cache"
	"badged/cmd/internal/config"
)

// Check is Config.Check with what the list of this board adds to the notes.
func Check(c config.Config) (notes []string, err error) {
	notes, err = c.Check()
	return append(notes, lockedStations(c)...), err
}

// lockedStations notes the private stations that no badge could open by the
// list that this gateway has, if it has one that can be read.
func lockedStations(c config.Config) (notes []string) {
	named, ok, err := cache.NamedStations(filepath.Join(c.State, "list.db"))
	if err != nil || !ok {
		return nil
	}
	for _, s := range c.Stations {
		if s.Private && !slices.Contains(named, s.ID) {
			notes = append(notes, fmt.Sprintf("station %s is private, and no badge on the list %s names it: nobody can start it", s.ID, c.List.Name))
		}
	}
	return notes
}
