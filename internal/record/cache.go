package record

import (
	"bytes"

	"github.com/fluxkeep/fluxkeep/internal/gencache"
)

// cache remembers what sealed records decode to. An entry is used only while
// the store holds the very bytes that it was decoded from, so it can't be
// stale, and nothing has to be dropped when something changes. A record that
// is written may even be remembered before it is known to be durable: no two
// sealed records are equal.
type cache struct {
	*gencache.Cache[cacheKey, cached]
}

type cached struct {
	sealed  []byte
	decoded any
	element Sum
}

func newCache() *cache { return &cache{gencache.New[cacheKey, cached](10_000)} }

// keySpace is more than every key has bytes.
const keySpace = 40

// cacheKey is a key of the store as the key of a map.
type cacheKey [keySpace]byte

// newCacheKey is for keys, all of which are shorter than a cacheKey.
func newCacheKey(key []byte) (k cacheKey) {
	k[len(k)-1] = byte(copy(k[:len(k)-1], key))
	return k
}

func (c *cache) find(key, sealed []byte) (cached, bool) {
	e, ok := c.Get(newCacheKey(key))
	if !ok || !bytes.Equal(e.sealed, sealed) {
		return cached{}, false
	}
	return e, true
}

// add caches a record. Neither the bytes nor what they decode to may be
// changed any more.
func (c *cache) add(key, sealed []byte, decoded any, element Sum) {
	c.Put(newCacheKey(key), cached{sealed, decoded, element})
}
