package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"badged/mifare"
)

// maxVisits bounds how many badges are remembered; then the oldest is forgotten.
const maxVisits = 8192

// visits remembers what kind of card each badge was that was ever admitted: a
// UID that comes back as another kind is a copy of something, or was one before.
// Strangers' cards are not kept. The file has a line for each change, so that an
// ordinary day writes nothing. The zero value remembers without a file; it is
// safe for concurrent use.
type visits struct {
	mu    sync.Mutex
	path  string
	seen  map[mifare.UID]visit
	order []mifare.UID // oldest first
	lines int          // in the file
}

// visit is the kind of a card: SAK has come under a CRC, and a type counts only
// where both visits had the ATS that it may hang on.
type visit struct {
	sak mifare.SAK
	typ mifare.Type
	ats bool
}

func visitOf(a mifare.Admission) visit {
	return visit{a.Card.SAK(), a.Type, len(a.Card.ATS) > 0}
}

func (v visit) differs(w visit) bool {
	return v.sak != w.sak || v.ats && w.ats && v.typ != w.typ
}

// changed tells whether the badge was another kind of card when it was last here.
func (v *visits) changed(a mifare.Admission) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	before, known := v.seen[a.Card.UID]
	return known && before.differs(visitOf(a))
}

// remember notes the kind of a badge that is new, or another than it was. An
// error says that the file was not written; until the next start the memory holds.
func (v *visits) remember(a mifare.Admission) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	before, known := v.seen[a.Card.UID]
	now := visitOf(a)
	if !known && a.Verdict != mifare.Accept || known && !before.differs(now) && (before.ats || !now.ats) {
		return nil
	}
	v.put(a.Card.UID, now)
	if v.path == "" {
		return nil
	}
	if v.lines >= 2*maxVisits {
		return v.rewrite()
	}
	v.lines++
	return v.write(os.O_APPEND, []mifare.UID{a.Card.UID})
}

func (v *visits) put(u mifare.UID, now visit) {
	if v.seen == nil {
		v.seen = make(map[mifare.UID]visit)
	}
	if _, known := v.seen[u]; !known {
		v.order = append(v.order, u)
	}
	v.seen[u] = now
	if len(v.order) > maxVisits {
		delete(v.seen, v.order[0])
		v.order = v.order[1:]
	}
}

// load reads the file at path, and keeps it from now on. Lines that a power cut
// or anything else has spoilt are left out.
func (v *visits) load(path string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.path = path
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kinds of cards: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); v.lines++ {
		var text, typ string
		var now visit
		n, _ := fmt.Sscanf(s.Text(), "%s %02X %s %t .", &text, &now.sak, &typ, &now.ats)
		if u, err := mifare.ParseUID(text); n == 4 && err == nil {
			now.typ = mifare.Type(typ)
			v.put(u, now)
		}
	}
	return nil
}

// rewrite makes the file as short as it can be.
func (v *visits) rewrite() error {
	v.lines = len(v.order)
	return v.write(os.O_TRUNC, v.order)
}

// write does not wait for the disk: what a power cut takes is a note, no money.
func (v *visits) write(how int, which []mifare.UID) error {
	f, err := os.OpenFile(v.path, os.O_WRONLY|os.O_CREATE|how, 0o600)
	if err != nil {
		return fmt.Errorf("kinds of cards: %w", err)
	}
	w := bufio.NewWriter(f)
	for _, u := range which {
		k := v.seen[u]
		fmt.Fprintf(w, "%s %02X %s %t .\n", u, byte(k.sak), k.typ, k.ats)
	}
	return errors.Join(w.Flush(), f.Close())
}
