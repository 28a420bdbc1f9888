package group

import (
	"bytes"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/arena"
)

// maxChange limits the bytes of one group, well below any engine's limit for a
// batch.
const maxChange = 1 << 30

var (
	// ErrEmptyKey is the error of setting an empty key, which not every engine
	// supports.
	ErrEmptyKey = errors.New("store: empty key")
	// ErrEnded is the error of using a transaction after its end.
	ErrEnded = errors.New("store: transaction used after its end")

	errTooLarge = errors.New("store: change too large")
)

// Tx is the transaction of a function: its base, read through the group's
// writes.
type Tx struct {
	g        *Group
	base     store.Reader // nil outside of a transaction
	deferred []store.Deferred
	bytes    arena.Arena
}

var _ store.Tx = (*Tx)(nil)

func (t *Tx) begin(g *Group, base store.Reader) { t.g, t.base = g, base }

func (t *Tx) end() {
	t.base = nil
	t.bytes.Reset()
	clear(t.deferred)
	t.deferred = t.deferred[:0]
}

// Revision implements store.Reader.
func (t *Tx) Revision(tables ...byte) uint64 {
	if t.base == nil || t.g.Changed.hasAny(tables) {
		return 0
	}
	return t.base.Revision(tables...)
}

// Get implements store.Reader.
func (t *Tx) Get(key []byte) ([]byte, error) {
	if t.base == nil {
		return nil, ErrEnded
	}
	switch state, value := t.g.writes.get(key); state {
	case set:
		return value, nil
	case deleted:
		return nil, store.ErrNotFound
	}
	return t.base.Get(key)
}

// Scan implements store.Reader. It merges the keys of the base with the
// group's.
func (t *Tx) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	if t.base == nil {
		return ErrEnded
	}
	w := &t.g.writes
	if w.empty() {
		return t.base.Scan(from, to, fn)
	}
	own, more := w.seek(from), true
	// upTo visits the set keys before end.
	upTo := func(end []byte) (err error) {
		for more && err == nil && own != nil && before(own.key, end) {
			n := own
			own = own.next[0]
			if n.state == set {
				more, err = fn(n.key, n.value)
			}
		}
		return err
	}
	// The base is scanned between the deleted ranges.
	for more && before(from, to) {
		if h := w.hides(from); h != nil {
			if h.to == nil {
				break
			}
			from = h.to
			continue
		}
		end := to
		if h := w.nextHidden(from); h != nil && before(h.from, to) {
			end = h.from
		}
		err := t.base.Scan(from, end, func(key, value []byte) (bool, error) {
			if err := upTo(key); err != nil || !more {
				return false, err
			}
			if own != nil && bytes.Equal(own.key, key) && own.state != absent {
				return true, nil // the group's own state counts
			}
			var err error
			more, err = fn(key, value)
			return more, err
		})
		if err != nil {
			return err
		}
		if end == nil {
			break
		}
		from = end
	}
	return upTo(to)
}

// Set implements store.Tx.
func (t *Tx) Set(key, value []byte) error {
	if t.base == nil {
		return ErrEnded
	}
	if len(key) == 0 {
		return ErrEmptyKey
	}
	if n := len(key) + len(value); t.g.Size()+n > maxChange || t.g.MaxValue > 0 && n > t.g.MaxValue {
		return errTooLarge
	}
	t.g.Changed.Add(key[0])
	t.g.writes.set(key, value)
	return nil
}

// Delete implements store.Tx.
func (t *Tx) Delete(key []byte) error {
	if t.base == nil {
		return ErrEnded
	}
	if len(key) == 0 {
		return nil
	}
	if t.g.Size()+len(key) > maxChange {
		return errTooLarge
	}
	t.g.Changed.Add(key[0])
	t.g.writes.delete(key)
	return nil
}

// DeleteRange implements store.Tx.
func (t *Tx) DeleteRange(from, to []byte) error {
	if t.base == nil {
		return ErrEnded
	}
	if !before(from, to) {
		return nil
	}
	if t.g.Size()+len(from)+len(to) > maxChange {
		return errTooLarge
	}
	t.g.Changed.AddRange(from, to)
	few, err := t.deleteFew(from, to)
	if !few && err == nil {
		t.g.writes.deleteRange(from, to)
	}
	return err
}

// deleteFew deletes the keys in [from, to) one by one if there are few.
func (t *Tx) deleteFew(from, to []byte) (few bool, err error) {
	var keys [][]byte
	few = true
	err = t.Scan(from, to, func(key, _ []byte) (bool, error) {
		if few = len(keys) < t.g.Few; few {
			keys = append(keys, t.bytes.Copy(key))
		}
		return few, nil
	})
	if err != nil || !few {
		return false, err
	}
	for _, key := range keys {
		t.g.writes.delete(key)
	}
	return true, nil
}

// Defer implements store.Tx.
func (t *Tx) Defer(d store.Deferred) { t.deferred = append(t.deferred, d) }
