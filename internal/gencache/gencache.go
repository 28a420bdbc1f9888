// Package gencache provides a cache with two generations. A generation ends when
// a number of new entries has been inserted, and entries that were not used for a
// whole one are dropped.
package gencache

import "sync"

// Cache is a map with at most twice as many entries as its size. An entry stays
// at least until size others have been inserted since it was last used. Its
// methods are safe for concurrent use.
type Cache[K comparable, V any] struct {
	size int // entries per generation

	mu sync.RWMutex
	// An entry found in old moves to young. When young is full it becomes old,
	// and the entries in old are dropped.
	young, old map[K]V
}

// New returns an empty cache whose generations have size entries.
func New[K comparable, V any](size int) *Cache[K, V] { return &Cache[K, V]{size: size} }

// Get returns the value at k.
func (c *Cache[K, V]) Get(k K) (V, bool) {
	c.mu.RLock()
	v, ok := c.young[k]
	if ok || c.old == nil {
		c.mu.RUnlock()
		return v, ok
	}
	v, ok = c.old[k]
	c.mu.RUnlock()
	if ok {
		c.promote(k)
	}
	return v, ok
}

// promote moves an entry from old to young, unless it has been replaced since.
func (c *Cache[K, V]) promote(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.old[k]
	if _, newer := c.young[k]; ok && !newer {
		c.add(k, v)
	}
}

// Put sets the value at k.
func (c *Cache[K, V]) Put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(k, v)
}

func (c *Cache[K, V]) add(k K, v V) {
	if c.young == nil || len(c.young) >= c.size {
		c.young, c.old = make(map[K]V), c.young
	}
	delete(c.old, k)
	c.young[k] = v
}

// Delete removes the value at k, if there is one.
func (c *Cache[K, V]) Delete(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, k)
	delete(c.old, k)
}

// Clear removes all entries.
func (c *Cache[K, V]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young, c.old = nil, nil
}
