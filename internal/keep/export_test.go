package keep

// DropCaches makes k read everything from the store again.
func (k *Keep) DropCaches() {
	k.records.clear()
	k.callers.clear()
	k.newest.clear()
	k.heads.clear()
	k.maps.clear()
}
