package keep

// DropCaches makes k read everything from the store again.
func (k *Keep) DropCaches() {
	k.records.mu.Lock()
	k.records.entries = nil
	k.records.mu.Unlock()
	k.maps.clear()
	k.callers.changed()
}

// DescribeKey names a record.
func DescribeKey(key string) string { return describeKey([]byte(key)) }
