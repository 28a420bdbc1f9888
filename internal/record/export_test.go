package record

// Previous reports whether transactions can use the keys that a rotation dropped.
func (db *DB) Previous() bool { return db.previous.Load() != nil }
