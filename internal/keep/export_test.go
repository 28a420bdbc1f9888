package keep

// DropCaches makes k read everything from the store again.
func (k *Keep) DropCaches() {
	k.records.mu.Lock()
	k.records.young, k.records.old = nil, nil
	k.records.mu.Unlock()
	k.maps.clear()
	k.callers.changed()
}
