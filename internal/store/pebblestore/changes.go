package pebblestore

import (
	"bytes"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// changes are the writes of one commit group, in an indexed batch of the
// engine. Its functions run one after another and read through the batch, so
// each sees the writes of those before it. rollback undoes a function's writes
// since mark.
type changes struct {
	gen   *generation
	batch *pebble.Batch
	spare *pebble.Batch // for the next group, while batch is synced

	// The size of the batch at the mark.
	count uint32
	bytes int
}

// mark begins a function on gen: rollback returns to this point.
func (c *changes) mark(gen *generation) {
	if c.gen != gen {
		c.gen, c.batch, c.spare = gen, gen.db.NewIndexedBatch(), gen.db.NewIndexedBatch()
	}
	c.count, c.bytes = c.batch.Count(), c.batch.Len()
}

// written reports whether anything was written since the last mark.
func (c *changes) written() bool { return c.batch.Count() != c.count }

// rollback undoes everything since the last mark. A batch can't be truncated,
// so rollback writes the earlier operations to it again.
func (c *changes) rollback() error {
	if !c.written() {
		return nil
	}
	repr := bytes.Clone(c.batch.Repr()[:c.bytes])
	c.batch.Reset()
	if c.count == 0 {
		return nil
	}
	binary.LittleEndian.PutUint32(repr[batchCountAt:], c.count)
	before := c.gen.db.NewBatch()
	defer before.Close()
	if err := before.SetRepr(repr); err != nil {
		return err
	}
	return c.batch.Apply(before, nil)
}

// batchCountAt is the offset of a batch's operation count.
const batchCountAt = 8

// empty reports whether the group writes nothing.
func (c *changes) empty() bool { return c.batch == nil || c.batch.Empty() }

// size is the number of bytes that the group writes.
func (c *changes) size() int {
	if c.batch == nil {
		return 0
	}
	return c.batch.Len()
}

// take returns the group's batch and begins a new group. The batch taken
// before must be synced.
func (c *changes) take() *pebble.Batch {
	taken := c.batch
	c.batch, c.spare = c.spare, taken
	c.batch.Reset()
	return taken
}

// reset discards the group.
func (c *changes) reset() {
	if c.batch != nil {
		c.batch.Reset()
	}
}

// deleteRange deletes the keys in [from, to). The engine can't express an open
// end, so for a nil to it looks up the last key in the batch.
func (c *changes) deleteRange(from, to []byte) error {
	if to == nil {
		var err error
		if to, err = lastKeyAfter(c.batch, from); err != nil || to == nil {
			return err
		}
	}
	if len(from) == 0 {
		from = []byte{0} // the engine loses range tombstones with an empty start key
	}
	return c.batch.DeleteRange(from, to, nil)
}
