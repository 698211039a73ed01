package provision

import (
	"fmt"
	"strings"
)

// gathered says each thing once, with all whom it is about: two hundred gateways
// mostly have the same to be said of them.
type gathered struct {
	texts []string
	who   map[string][]string
}

func (g *gathered) add(who string, texts ...string) {
	if g.who == nil {
		g.who = map[string][]string{}
	}
	for _, t := range texts {
		if g.who[t] == nil {
			g.texts = append(g.texts, t)
		}
		g.who[t] = append(g.who[t], who)
	}
}

// lines has a line for each text, in the order in which they came first. all is how
// many there are to be about, 0 where nobody knows.
func (g *gathered) lines(all int) (out []string) {
	for _, t := range g.texts {
		if who := whose(g.who[t], all); who != "" {
			t = who + ": " + t
		}
		out = append(out, t)
	}
	return out
}

// fewNames is how many a line names.
const fewNames = 4

// whose names some out of all, as many as can be read.
func whose(names []string, all int) string {
	switch {
	case len(names) == all && all > 1:
		return fmt.Sprintf("all %d", all)
	case len(names) > fewNames:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:fewNames-1], ", "), len(names)-fewNames+1)
	}
	return strings.Join(names, ", ")
}

// Notes has each note on what was made once, with the gateways that it is about.
func Notes(made []Made) []string {
	var g gathered
	for _, m := range made {
		g.add(m.ID, m.Notes...)
	}
	return g.lines(len(made))
}
