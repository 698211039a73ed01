package station

import (
	"cmp"
	"slices"
	"strings"
)

// maxNear is how many names an error offers.
const maxNear = 5

// closest returns the names that somebody who wrote name may have meant, the
// likeliest first: those that contain it, and those a keystroke or two away.
func closest(name string, names []string) []string {
	type candidate struct {
		name string
		far  int
	}
	var near []candidate
	for _, n := range names {
		far := distance(strings.ToUpper(name), strings.ToUpper(n))
		if far <= 2 || strings.Contains(n, name) {
			near = append(near, candidate{n, far})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.far, b.far) })
	var out []string
	for _, c := range near[:min(len(near), maxNear)] {
		out = append(out, c.name)
	}
	return out
}

// distance is the number of bytes to insert, delete or replace between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
