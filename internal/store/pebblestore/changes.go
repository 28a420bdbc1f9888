package pebblestore

import (
	"bytes"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// changes are what the functions of one commit group have written, in an
// indexed batch of the engine. The functions run one after the other, and each
// reads the engine through the batch, so it sees what those before it wrote.
// What a function wrote since mark can be taken back with rollback.
type changes struct {
	gen   *generation
	batch *pebble.Batch
	spare *pebble.Batch // for the next group, while batch is synced

	// The batch at the mark.
	count uint32
	bytes int
}

// mark starts a function on gen: rollback returns to here.
func (c *changes) mark(gen *generation) {
	if c.gen != gen {
		c.gen, c.batch, c.spare = gen, gen.db.NewIndexedBatch(), gen.db.NewIndexedBatch()
	}
	c.count, c.bytes = c.batch.Count(), c.batch.Len()
}

// written reports whether anything was written since the last mark.
func (c *changes) written() bool { return c.batch.Count() != c.count }

// rollback takes back everything since the last mark. The batch has no way to
// do that, so what was written before is written to it again.
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

// batchCountAt is where a batch holds the number of its operations.
const batchCountAt = 8

// empty reports whether the group changes nothing.
func (c *changes) empty() bool { return c.batch == nil || c.batch.Empty() }

// size is the number of bytes that the group writes.
func (c *changes) size() int {
	if c.batch == nil {
		return 0
	}
	return c.batch.Len()
}

// take returns the batch of the group and begins another group. The batch
// taken before must be synced.
func (c *changes) take() *pebble.Batch {
	taken := c.batch
	c.batch, c.spare = c.spare, taken
	c.batch.Reset()
	return taken
}

// reset forgets the group.
func (c *changes) reset() {
	if c.batch != nil {
		c.batch.Reset()
	}
}

// deleteRange asks the batch for the last key where the range has no end, which
// the engine has no word for.
func (c *changes) deleteRange(from, to []byte) error {
	if to == nil {
		var err error
		if to, err = lastKeyAfter(c.batch, from); err != nil || to == nil {
			return err
		}
	}
	if len(from) == 0 {
		from = []byte{0} // the engine loses tombstones that begin with no key
	}
	return c.batch.DeleteRange(from, to, nil)
}
