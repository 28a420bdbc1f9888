package engine

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/fluxkeep/fluxkeep/internal/store/group"
)

// Fill writes the group to batch. Its base is db.
func Fill(batch *pebble.Batch, g *group.Group, db pebble.Reader) error {
	err := g.Ranges(func(from, to []byte) error {
		return DeleteRange(batch, db, from, to)
	})
	if err != nil {
		return err
	}
	err = g.Keys(func(key, value []byte, deleted bool) error {
		if deleted {
			return batch.Delete(key, nil)
		}
		return batch.Set(key, value, nil)
	})
	if err == nil && batch.Empty() {
		// Only empty ranges were deleted; the group ends as usual.
		err = batch.LogData(nil, nil)
	}
	return err
}

// DeleteRange deletes the keys of db in [from, to), where nil is the end of all
// keys.
func DeleteRange(batch *pebble.Batch, db pebble.Reader, from, to []byte) (err error) {
	if to == nil {
		// The engine can't delete up to the end of all keys.
		if to, err = lastKeyAfter(db, from); err != nil || to == nil {
			return err
		}
	}
	if len(from) == 0 {
		from = firstKey // the engine loses range tombstones with an empty start key
	}
	return batch.DeleteRange(from, to, nil)
}

// lastKeyAfter returns the immediate successor of the last key at or after
// from, or nil if there is none.
func lastKeyAfter(src pebble.Reader, from []byte) ([]byte, error) {
	if len(from) == 0 {
		from = firstKey
	}
	it, err := src.NewIter(&pebble.IterOptions{LowerBound: from})
	if err != nil {
		return nil, ReadError(err)
	}
	var end []byte
	if it.Last() {
		end = append(append(end, it.Key()...), 0)
	}
	return end, closeIter(it, nil)
}
