package keep

import "context"

// RemoveExpired does at once what k does now and then.
func (k *Keep) RemoveExpired(ctx context.Context) error { return k.removeExpired(ctx) }

// DropCaches makes k read everything from the store again.
func (k *Keep) DropCaches() {
	k.records.clear()
	k.callers.clear()
	k.newest.clear()
	k.heads.clear()
	k.versions.clear()
	k.maps.clear()
}

func (c *mapCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.maps, c.bytes = nil, 0
	c.order.Init()
}

// DescribeKey names a record.
func DescribeKey(key string) string { return describeKey([]byte(key)) }

func (c *callerCache) clear() {
	c.callers.clear()
	c.orgs.clear()
	c.refs.clear()
}

func (r *recent[K, V]) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.young, r.old = nil, nil
}
