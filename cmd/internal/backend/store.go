package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"badged/cmd/internal/durable"
	"badged/session"
	"badged/uplink"
)

// store is a list's folder. head.json names the version; the pieces lie beside it
// and hash to what the head says. Pieces that no head names are left over from a
// push that was cut short, or wait to be cleared from the broker. The key set, if
// there ever was one, is the file keys.
type store struct {
	dir    string
	topics uplink.ListTopics
	lock   *os.File
	saved  saved
	at     func(step string) // failpoint of the crash tests, nil otherwise
}

// saved is head.json. There is no list yet while Head.Version is 0.
type saved struct {
	Head uplink.Head `json:"head"`
	// Previous is the version of the snapshot before, kept for those that are
	// fetching it; 0 when there is none.
	Previous uint64 `json:"previousSnapshot,omitempty"`
	// Replaces is the SHA-256 of the head of somebody else's that a push with a new
	// epoch was told to replace, in case that it is cut short.
	Replaces session.Digest `json:"replaces,omitzero"`
	// Signers are all keys that have signed a head of this store: by them it knows
	// its own old ones.
	Signers jose.JSONWebKeySet `json:"signers"`
	// Roots are the keys that have signed its key sets.
	Roots jose.JSONWebKeySet `json:"roots"`
}

func openStore(dir, list string) (*store, error) {
	if err := uplink.CheckID(list); err != nil {
		return nil, fmt.Errorf("open store: list: %w", err)
	}
	s := &store{dir: filepath.Join(dir, list), topics: uplink.ListTopics(list)}
	l, err := lock(s.dir)
	if err != nil {
		return nil, err
	}
	s.lock = l
	if err := durable.Sweep(s.dir); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), l.Close())
	}
	if err := readJSON(s.path("head.json"), &s.saved); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), l.Close())
	}
	if h := s.saved.Head; h.Version > 0 && h.List != list {
		return nil, errors.Join(fmt.Errorf("open store: %s is of the list %q", s.dir, h.List), l.Close())
	}
	return s, nil
}

// StoredHead is the newest version of a list in a publisher's folder, in the form
// EPOCH.VERSION.
func StoredHead(dir, list string) (string, error) {
	var s saved
	if err := readJSON(filepath.Join(dir, list, "head.json"), &s); err != nil {
		return "", fmt.Errorf("newest version of list %s: %w (is it the publisher's folder, and was the list published from it? Without the folder, leave it out)", list, err)
	}
	return fmt.Sprintf("%d.%d", s.Head.Epoch, s.Head.Version), nil
}

func (s *store) path(name string) string { return filepath.Join(s.dir, name) }

func (s *store) reach(step string) {
	if s.at != nil {
		s.at(step)
	}
}

// name is what the file of a topic's piece is called. Another epoch's has the same
// topic, so the epoch comes first: 1-snapshot-7-index.
func (s *store) name(epoch uint64, topic string) string {
	if topic == s.topics.Keys() {
		return "keys"
	}
	return fmt.Sprint(epoch, "-", strings.ReplaceAll(strings.TrimPrefix(topic, s.prefix()), "/", "-"))
}

// prefix is what all topics of the list begin with.
func (s *store) prefix() string { return strings.TrimSuffix(s.topics.Everything(), "#") }

// pieceName is what name makes of deltas, indexes and chunks.
var pieceName = regexp.MustCompile(`^[0-9]+-((?:delta|snapshot)-.*)$`)

func (s *store) piece(topic string) ([]byte, error) {
	b, err := durable.ReadFile(s.path(s.name(s.saved.Head.Epoch, topic)))
	if err != nil {
		return nil, fmt.Errorf("read store: %w (without its pieces a list must be pushed in a new epoch)", err)
	}
	return b, nil
}

func (s *store) put(epoch uint64, topic string, payload []byte) error {
	defer s.reach("piece stored")
	return durable.WriteFile(s.path(s.name(epoch, topic)), payload, 0o600)
}

// commit makes what was put the list.
func (s *store) commit(v saved) error {
	if err := writeJSON(s.path("head.json"), v, 0o600); err != nil {
		return err
	}
	s.saved = v
	s.reach("version stored")
	return nil
}

// keys is the key set that was signed last, as its message; nil if there is none.
func (s *store) keys() ([]byte, error) {
	b, err := durable.ReadFile(s.path("keys"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read store: %w", err)
	}
	return b, nil
}

// snapshot gives the topics of the snapshot at v, index first, and its index.
func (s *store) snapshot(v uint64) ([]string, uplink.Index, error) {
	b, err := s.piece(s.topics.Index(v))
	if err != nil {
		return nil, uplink.Index{}, err
	}
	x, err := uplink.DecodeIndex(b)
	if err != nil {
		return nil, x, fmt.Errorf("read store: %w", err)
	}
	topics := []string{s.topics.Index(v)}
	for n := range x.Chunks {
		topics = append(topics, s.topics.Chunk(v, n))
	}
	return topics, x, nil
}

// needed lists the topics that the head and the snapshot before it need.
func (s *store) needed() ([]string, error) {
	h := s.saved.Head
	if h.Version == 0 {
		return nil, nil
	}
	topics, _, err := s.snapshot(h.Snapshot.Version)
	if err != nil {
		return nil, err
	}
	if s.saved.Previous > 0 {
		before, _, err := s.snapshot(s.saved.Previous)
		if err != nil {
			return nil, err
		}
		topics = append(topics, before...)
	}
	for v := h.DeltasFrom + 1; v <= h.Version; v++ {
		topics = append(topics, s.topics.Delta(v))
	}
	return topics, nil
}

// leftover is a piece in the folder that nothing needs.
type leftover struct {
	name  string
	topic string // to be cleared from the broker; "" where a piece in use has it too
}

// unneeded lists the pieces that nothing needs, those of epochs before included.
func (s *store) unneeded() ([]leftover, error) {
	needed, err := s.needed()
	if err != nil {
		return nil, err
	}
	kept, topics := make(map[string]bool, len(needed)), make(map[string]bool, len(needed))
	for _, t := range needed {
		kept[s.name(s.saved.Head.Epoch, t)], topics[t] = true, true
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("read store: %w", err)
	}
	var old []leftover
	for _, f := range files {
		m := pieceName.FindStringSubmatch(f.Name())
		if m == nil || kept[f.Name()] {
			continue
		}
		l := leftover{f.Name(), s.prefix() + strings.ReplaceAll(m[1], "-", "/")}
		if topics[l.topic] {
			l.topic = ""
		}
		old = append(old, l)
	}
	return old, nil
}

// drop forgets a piece.
func (s *store) drop(l leftover) error {
	if err := os.Remove(s.path(l.name)); err != nil {
		return fmt.Errorf("clear store: %w", err)
	}
	s.reach("piece dropped")
	return nil
}

// load reads the list back from its pieces, every hash checked.
func (s *store) load() ([]session.Entry, error) {
	if s.saved.Head.Version == 0 {
		return nil, nil
	}
	entries, err := assemble(s.saved.Head, s.piece)
	if err != nil {
		return nil, fmt.Errorf("read store: %w", err)
	}
	return entries, nil
}

// chain tells how long the deltas since the snapshot are: versions and bytes.
func (s *store) chain() (n uint64, size int) {
	h := s.saved.Head
	for v := h.Snapshot.Version + 1; v <= h.Version; v++ {
		if info, err := os.Stat(s.path(s.name(h.Epoch, s.topics.Delta(v)))); err == nil {
			n, size = n+1, size+int(info.Size())
		}
	}
	return n, size
}
