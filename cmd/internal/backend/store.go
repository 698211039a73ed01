package backend

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"badged/session"
	"badged/uplink"
)

// store is a list's folder. head.json names the version; the pieces lie under
// the names that their topics end in, and hash to what the head says. Pieces that
// no head names are left over from a push that was cut short, or wait to be
// cleared from the broker.
type store struct {
	dir    string
	topics uplink.ListTopics
	lock   *os.File
	saved  saved
}

// saved is head.json. There is no list yet while Head.Version is 0.
type saved struct {
	Head uplink.Head `json:"head"`
	// Previous is the version of the snapshot before, kept for those that are
	// fetching it; 0 when there is none.
	Previous uint64 `json:"previousSnapshot,omitempty"`
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
	if err := readJSON(s.path("head.json"), &s.saved); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), l.Close())
	}
	if h := s.saved.Head; h.Version > 0 && h.List != list {
		return nil, errors.Join(fmt.Errorf("open store: %s is of the list %q", s.dir, h.List), l.Close())
	}
	return s, nil
}

func (s *store) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

// name is where the piece of that topic lies.
func (s *store) name(topic string) string {
	return strings.TrimPrefix(topic, strings.TrimSuffix(s.topics.Everything(), "#"))
}

func (s *store) piece(topic string) ([]byte, error) {
	b, err := os.ReadFile(s.path(s.name(topic)))
	if err != nil {
		return nil, fmt.Errorf("read store: %w (without its pieces a list must be pushed in a new epoch)", err)
	}
	return b, nil
}

func (s *store) put(topic string, payload []byte) error {
	path := s.path(s.name(topic))
	if err := makeDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	return writeFile(path, payload, 0o600)
}

// commit makes what was put the list.
func (s *store) commit(v saved) error {
	if err := writeJSON(s.path("head.json"), v, 0o600); err != nil {
		return err
	}
	s.saved = v
	return nil
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

// unneeded lists the topics of the pieces in the folder that nothing needs.
func (s *store) unneeded() ([]string, error) {
	needed, err := s.needed()
	if err != nil {
		return nil, err
	}
	keep := make(map[string]bool, len(needed))
	for _, t := range needed {
		keep[s.name(t)] = true
	}
	var topics []string
	prefix := strings.TrimSuffix(s.topics.Everything(), "#")
	for _, sub := range []string{"delta", "snapshot"} {
		err := fs.WalkDir(os.DirFS(s.dir), sub, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && d.Type().IsRegular() && !keep[path] && !strings.HasPrefix(d.Name(), ".") {
				topics = append(topics, prefix+path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read store: %w", err)
		}
	}
	return topics, nil
}

// drop forgets a piece.
func (s *store) drop(topic string) error {
	path := s.path(s.name(topic))
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("clear store: %w", err)
	}
	_ = os.Remove(filepath.Dir(path)) // the folder of a snapshot, once it is empty
	return nil
}

// load reads the list back from its pieces, every hash checked.
func (s *store) load() (map[session.IDToken]session.Entry, error) {
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
		if info, err := os.Stat(s.path("delta/" + strconv.FormatUint(v, 10))); err == nil {
			n, size = n+1, size+int(info.Size())
		}
	}
	return n, size
}

// assemble makes the list that a head stands for out of its snapshot and the
// deltas after it, and checks every digest and the count on the way.
func assemble(h uplink.Head, piece func(topic string) ([]byte, error)) (map[session.IDToken]session.Entry, error) {
	topics := uplink.ListTopics(h.List)
	b, err := piece(topics.Index(h.Snapshot.Version))
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != h.Snapshot.Index {
		return nil, fmt.Errorf("index of snapshot %d has another hash than the head says", h.Snapshot.Version)
	}
	x, err := uplink.DecodeIndex(b)
	if err != nil {
		return nil, err
	}
	entries := make(map[session.IDToken]session.Entry, x.Count)
	for n, sum := range x.Chunks {
		if err := addChunk(entries, topics.Chunk(h.Snapshot.Version, n), sum, piece); err != nil {
			return nil, fmt.Errorf("snapshot %d, chunk %d: %w", h.Snapshot.Version, n, err)
		}
	}
	if len(entries) != x.Count {
		return nil, fmt.Errorf("snapshot %d has %d entries, its index says %d", h.Snapshot.Version, len(entries), x.Count)
	}
	return entries, follow(h, entries, piece)
}

func addChunk(entries map[session.IDToken]session.Entry, topic string, sum session.Digest, piece func(string) ([]byte, error)) error {
	b, err := piece(topic)
	if err != nil {
		return err
	}
	if sha256.Sum256(b) != sum {
		return errors.New("has another hash than the index says")
	}
	c, err := uplink.DecodeChunk(b)
	if err != nil {
		return err
	}
	for _, e := range c.Put {
		if _, twice := entries[e.UID]; twice {
			return fmt.Errorf("badge %s stands in another chunk too", e.UID)
		}
		entries[e.UID] = e
	}
	return nil
}

// follow applies the deltas after the snapshot.
func follow(h uplink.Head, entries map[session.IDToken]session.Entry, piece func(string) ([]byte, error)) error {
	digest := h.Snapshot.Digest
	for v := h.Snapshot.Version + 1; v <= h.Version; v++ {
		b, err := piece(uplink.ListTopics(h.List).Delta(v))
		if err != nil {
			return err
		}
		digest = uplink.NextDigest(digest, v, b)
		d, err := uplink.DecodeDelta(b)
		if err != nil {
			return err
		}
		if d.List != h.List || d.Epoch != h.Epoch || d.Version != v {
			return fmt.Errorf("delta %d says it is %d.%d of %q", v, d.Epoch, d.Version, d.List)
		}
		maps.Copy(entries, byUID(d.Put))
		for _, uid := range d.Remove {
			delete(entries, uid)
		}
	}
	if digest != h.Digest {
		return fmt.Errorf("the deltas do not lead to the digest of version %d", h.Version)
	}
	if len(entries) != h.Count {
		return fmt.Errorf("%d entries at version %d, the head says %d", len(entries), h.Version, h.Count)
	}
	return nil
}

func byUID(entries []session.Entry) map[session.IDToken]session.Entry {
	m := make(map[session.IDToken]session.Entry, len(entries))
	for _, e := range entries {
		m[e.UID] = e
	}
	return m
}

// differ is the delta from one list to another, sorted by UID.
func differ(old map[session.IDToken]session.Entry, now []session.Entry) session.Delta {
	var d session.Delta
	stays := make(map[session.IDToken]bool, len(now))
	for _, e := range now {
		stays[e.UID] = true
		if was, ok := old[e.UID]; !ok || !same(was, e) {
			d.Put = append(d.Put, e)
		}
	}
	for uid := range old {
		if !stays[uid] {
			d.Remove = append(d.Remove, uid)
		}
	}
	slices.Sort(d.Remove)
	return d
}
