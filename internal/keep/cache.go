package keep

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

// recordCache remembers what sealed records decode to: those of the directory
// (organizations, users, tokens, memberships), and the heads and versions of
// maps. An entry is used only while the store holds the very bytes that it was
// decoded from, so it can't say what is no longer true, and nothing has to be
// dropped when something changes. So what is written may be put here at once,
// whether it comes to be durable or not: no two sealed records are equal.
type recordCache struct {
	mu sync.RWMutex
	// What is found in old moves to young. When young is full it becomes the
	// old, so what was not used for long goes.
	young, old map[string]cachedRecord
}

type cachedRecord struct {
	sealed  []byte
	decoded any
}

const maxYoungRecords = 10_000

func (c *recordCache) find(key, sealed []byte) (any, bool) {
	c.mu.RLock()
	e, ok := c.young[string(key)]
	again := false
	if !ok {
		e, again = c.old[string(key)]
	}
	c.mu.RUnlock()
	if !ok && !again || !bytes.Equal(e.sealed, sealed) {
		return nil, false
	}
	if again {
		c.keep(key, e.sealed, e.decoded)
	}
	return e.decoded, true
}

// keep remembers a record. Neither the bytes nor what they decode to may be
// changed any more.
func (c *recordCache) keep(key, sealed []byte, decoded any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == nil || len(c.young) >= maxYoungRecords {
		c.young, c.old = make(map[string]cachedRecord), c.young
	}
	c.young[string(key)] = cachedRecord{sealed, decoded}
}

// forget drops what is not needed any more.
func (c *recordCache) forget(key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, string(key))
	delete(c.old, string(key))
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
