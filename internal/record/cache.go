package record

import (
	"bytes"

	"github.com/fluxkeep/fluxkeep/internal/gencache"
)

// cache maps sealed records to their decoded form. An entry is used only while the
// store holds exactly the bytes that it was decoded from, so it can't be stale and
// needs no invalidation. A record may even be cached before it is durable, because
// no two sealed records are equal.
type cache struct {
	*gencache.Cache[cacheKey, cached]
}

type cached struct {
	sealed  []byte
	decoded any
	element Sum
}

func newCache() *cache { return &cache{gencache.New[cacheKey, cached](10_000)} }

// keySpace is more than the length of any key.
const keySpace = 40

// cacheKey is a store key that can be used as a map key.
type cacheKey [keySpace]byte

// newCacheKey converts a key, which must be shorter than a cacheKey.
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

// add caches a record. Neither the bytes nor the decoded value may be modified
// afterwards.
func (c *cache) add(key, sealed []byte, decoded any, element Sum) {
	c.Put(newCacheKey(key), cached{sealed, decoded, element})
}
