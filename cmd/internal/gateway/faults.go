package gateway

import (
	"maps"
	"slices"
	"sync"
)

// faults is what is wrong at the moment, in words. The zero value is ready; it
// is safe for concurrent use.
type faults struct {
	mu sync.Mutex
	m  map[string]string
}

// set notes what is wrong with one thing, or with "" that nothing is.
func (f *faults) set(what, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if text == "" {
		delete(f.m, what)
		return
	}
	if f.m == nil {
		f.m = map[string]string{}
	}
	f.m[what] = text
}

// all lists the faults, one line each.
func (f *faults) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, what := range slices.Sorted(maps.Keys(f.m)) {
		out = append(out, what+": "+f.m[what])
	}
	return out
}
