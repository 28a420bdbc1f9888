package record

import (
	"encoding/json"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Writer reads and writes within one transaction. Its reads show its own
// writes. All changes of records go through set, Delete and DeletePrefix.
type Writer struct {
	Reader
	tx store.Tx
}

func (w *Writer) set(key, plain []byte) (sealed []byte, err error) {
	if sealed, err = w.db.seal(key, plain); err != nil {
		return nil, err
	}
	return sealed, w.tx.Set(key, sealed)
}

// Put writes a record.
func (w *Writer) Put(key, plain []byte) error {
	_, err := w.set(key, plain)
	return err
}

// PutDecoded writes a record and remembers what it decodes to: Load and
// LoadFunc return that as long as the store holds the record. It must not be
// changed any more.
func (w *Writer) PutDecoded(key, plain []byte, decoded any) error {
	sealed, err := w.set(key, plain)
	if err != nil {
		return err
	}
	w.db.cache.remember(key, sealed, decoded)
	return nil
}

// PutJSON writes a record as JSON.
func (w *Writer) PutJSON(key []byte, v any) error {
	plain, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.Put(key, plain)
}

// Delete removes the record at key, if there is one.
func (w *Writer) Delete(key []byte) error { return w.tx.Delete(key) }

// DeletePrefix removes all records whose keys begin with prefix.
func (w *Writer) DeletePrefix(prefix []byte) error {
	return w.tx.DeleteRange(prefix, store.PrefixEnd(prefix))
}

// NewID returns an unused ID for a table whose records are listed in the order
// in which they were made, as InfluxDB lists users and tokens.
func (w *Writer) NewID(table Table) (ID, error) {
	for range 16 { // of 4096 in each microsecond
		id := acl.NewIDAt(w.Now)
		if used, err := w.Has(Key(table, id)); err != nil || !used {
			return id, err
		}
	}
	return acl.NewID(), nil
}
