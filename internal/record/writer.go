package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Writer reads and writes within one transaction. Its reads show its own writes.
// It keeps the store's sums of its records up to date; see sums.go.
type Writer struct {
	Reader
	tx      store.Tx
	changed changes
}

func (w *Writer) set(key, plain []byte) (sealed []byte, element Sum, err error) {
	if rewritten(TableOf(key)) {
		if err := w.trust(key); err != nil {
			return nil, Sum{}, err
		}
		if err := w.uncount(key); err != nil {
			return nil, Sum{}, err
		}
	}
	return w.write(key, plain)
}

// write is set for a record that is not in the sums.
func (w *Writer) write(key, plain []byte) (sealed []byte, element Sum, err error) {
	element = w.element(key, plain)
	w.changed.toggle(key, element)
	if sealed, err = w.seal(key, plain); err != nil {
		return nil, Sum{}, err
	}
	return sealed, element, w.tx.Set(key, sealed)
}

// uncount removes the record at key, if any, from the sums.
func (w *Writer) uncount(key []byte) error {
	sealed, err := w.store.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if known, ok := w.db.cache.find(key, sealed); ok {
		w.changed.toggle(key, known.element)
		return nil
	}
	var plain []byte
	if rewritten(TableOf(key)) {
		if plain, err = w.open(key, sealed); err != nil {
			return err
		}
	}
	w.changed.toggle(key, w.element(key, plain))
	return nil
}

// Put writes a record. If its table's records are never rewritten, the key must be
// new.
func (w *Writer) Put(key, plain []byte) error {
	_, _, err := w.set(key, plain)
	return err
}

// PutDecoded writes a record and remembers what it decodes to: Load and
// LoadFunc return that as long as the store holds the record. It must not be
// changed any more.
func (w *Writer) PutDecoded(key, plain []byte, decoded any) error {
	sealed, element, err := w.set(key, plain)
	if err != nil {
		return err
	}
	w.db.cache.add(key, sealed, decoded, element)
	return nil
}

// Counted is embedded in decoded records that Writer.Replace writes.
type Counted struct{ element Sum }

func (c *Counted) counted() *Counted { return c }

type counted interface{ counted() *Counted }

// Replace is PutDecoded for a record that was read in the transaction. old is what
// it decodes to, or new if there is none. This saves reading it again for the sums.
func (w *Writer) Replace(key, plain []byte, old, decoded counted) error {
	w.changed.toggle(key, old.counted().element)
	sealed, element, err := w.write(key, plain)
	if err != nil {
		return err
	}
	decoded.counted().element = element
	w.db.cache.add(key, sealed, decoded, element)
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

// Reseal re-encrypts the record at key, if any, with the primary key.
func (w *Writer) Reseal(key []byte) error {
	sealed, err := w.store.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	// The content stays the same, so it makes no difference if it is suspect.
	plain, err := w.open(key, sealed)
	if err != nil {
		return err
	}
	if sealed, err = w.seal(key, plain); err != nil {
		return err
	}
	return w.tx.Set(key, sealed)
}

// Delete removes the record at key, if there is one. The record may be damaged:
// what can't be opened is not in the sums as it is, so they stay as wrong as they
// were.
func (w *Writer) Delete(key []byte) error {
	if err := w.uncount(key); err != nil && !errors.As(err, new(*DamageError)) {
		return err
	}
	return w.tx.Delete(key)
}

// Remove removes the record at key without reading it. The record must exist, and
// records of its table must never be rewritten.
func (w *Writer) Remove(key []byte) error {
	w.changed.toggle(key, w.element(key, nil))
	return w.tx.Delete(key)
}

// RemoveAll is Remove for several records, of which some may not exist. It sorts
// keys. Records between which there are no others are removed with one operation,
// of which some stores take only a few in a transaction.
func (w *Writer) RemoveAll(keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	slices.SortFunc(keys, bytes.Compare)
	type keyRange struct{ first, last []byte }
	var ranges []keyRange
	apart := true
	err := w.Scan(keys[0], after(keys[len(keys)-1]), func(key, _ []byte) (bool, error) {
		for bytes.Compare(keys[0], key) < 0 {
			keys = keys[1:]
		}
		if !bytes.Equal(keys[0], key) {
			apart = true
			return true, nil
		}
		w.changed.toggle(key, w.element(key, nil))
		if apart {
			ranges = append(ranges, keyRange{first: keys[0]})
		}
		ranges[len(ranges)-1].last, apart = keys[0], false
		return true, nil
	})
	for _, r := range ranges {
		if err == nil {
			err = w.tx.DeleteRange(r.first, after(r.last))
		}
	}
	return err
}

// after returns the first key after key.
func after(key []byte) []byte { return append(bytes.Clone(key), 0) }

// DeleteMap removes an organization's map: its head and state, and all records
// of map m.
func (w *Writer) DeleteMap(org, m ID) error {
	for _, table := range []Table{TableSecret, TableVersion, TableChanges} {
		prefix := Key(table, m)
		if err := w.tx.DeleteRange(prefix, store.PrefixEnd(prefix)); err != nil {
			return err
		}
	}
	if err := w.tx.Delete(Key(TableState, org)); err != nil {
		return err
	}
	if err := w.Delete(Key(TableHead, org)); err != nil {
		return err
	}
	w.MapChanges(org, m) // no records are left
	return nil
}

// NewID returns an unused ID for a table whose records are listed in the order of
// their creation, as InfluxDB lists users and tokens.
func (w *Writer) NewID(table Table) (ID, error) {
	for range 16 { // of 4096 in each microsecond
		id := acl.NewIDAt(w.Now)
		if used, err := w.Has(Key(table, id)); err != nil || !used {
			return id, err
		}
	}
	return acl.NewID(), nil
}
