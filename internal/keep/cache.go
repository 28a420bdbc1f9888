package keep

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// recordCache remembers what sealed records decode to: those of the directory
// (organizations, users, tokens, memberships), and the heads of maps. An entry
// is used only while the store holds the very bytes that it was decoded from, so
// it can't say what is no longer true, and nothing has to be dropped when
// something changes. So what is written may be put here at once, whether it
// comes to be durable or not: no two sealed records are equal.
type recordCache struct{ recent[place, cachedRecord] }

type cachedRecord struct {
	sealed  []byte
	decoded any
}

// place is a key of the store as the key of a map.
type place [40]byte

// placeOf is for keys, which are all shorter than a place.
func placeOf(key []byte) (p place) {
	p[len(p)-1] = byte(copy(p[:len(p)-1], key))
	return p
}

func (c *recordCache) find(key, sealed []byte) (any, bool) {
	e, ok := c.get(placeOf(key))
	if !ok || !bytes.Equal(e.sealed, sealed) {
		return nil, false
	}
	return e.decoded, true
}

// keep remembers a record. Neither the bytes nor what they decode to may be
// changed any more.
func (c *recordCache) keep(key, sealed []byte, decoded any) {
	c.put(placeOf(key), cachedRecord{sealed, decoded})
}

// load returns the record at key decoded into a T, which all who ask share:
// it must not be changed. It is nil when there is none.
func load[T any](v *view, key []byte) (*T, error) {
	sealed, err := v.r.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decode[T](v, key, sealed)
}

func decode[T any](v *view, key, sealed []byte) (*T, error) {
	if d, ok := v.k.records.find(key, sealed); ok {
		return d.(*T), nil
	}
	d := new(T)
	if err := v.openJSON(key, sealed, d); err != nil {
		return nil, err
	}
	v.k.records.keep(key, bytes.Clone(sealed), d)
	return d, nil
}

func (v *view) openJSON(key, sealed []byte, into any) error {
	plain, err := v.open(key, sealed)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(plain, into); err != nil {
		return damaged(describeKey(key), err)
	}
	return nil
}

// mustJSON decodes the record at key, which another one says is there.
func (v *view) mustJSON(key []byte, into any) error {
	sealed, err := v.r.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return damaged(describeKey(key), err)
	}
	if err != nil {
		return err
	}
	return v.openJSON(key, sealed, into)
}
