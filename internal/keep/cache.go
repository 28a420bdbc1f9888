package keep

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// recordCache remembers what sealed records of the directory (organizations,
// users, tokens, memberships) decode to. An entry is used only while the
// store holds the very bytes that it was decoded from, so it can't say what
// is no longer true, and nothing has to be dropped when something changes.
type recordCache struct {
	mu      sync.RWMutex
	entries map[string]cachedRecord
}

type cachedRecord struct {
	sealed  []byte
	decoded any
}

const maxCachedRecords = 20_000

func (c *recordCache) find(key, sealed []byte) (any, bool) {
	c.mu.RLock()
	e, ok := c.entries[string(key)]
	c.mu.RUnlock()
	if !ok || !bytes.Equal(e.sealed, sealed) {
		return nil, false
	}
	return e.decoded, true
}

func (c *recordCache) keep(key, sealed []byte, decoded any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= maxCachedRecords {
		c.entries = make(map[string]cachedRecord) // rare, and cheaper than to know what was used last
	}
	c.entries[string(key)] = cachedRecord{bytes.Clone(sealed), decoded}
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
	v.k.records.keep(key, sealed, d)
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
