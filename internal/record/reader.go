package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// Reader reads within one transaction. Use it only in the goroutine that runs the
// transaction's function, and not after that function has returned.
type Reader struct {
	Now time.Time // the transaction's time

	ctx     context.Context
	db      *DB
	store   store.Reader
	own     *seal.Keys // see keys
	durable bool
	// pause is not nil in Inspect, where no record is refused as suspect.
	pause      func() error
	associated associatedData
}

// DB returns the DB that the transaction reads.
func (r *Reader) DB() *DB { return r.db }

// step is called between records that are verified.
func (r *Reader) step() error {
	if r.pause != nil {
		return r.pause()
	}
	return r.ctx.Err()
}

// Context returns the transaction's context.
func (r *Reader) Context() context.Context { return r.ctx }

// Durable reports whether the transaction reads only durable data, as a View does,
// which may be cached beyond the transaction.
func (r *Reader) Durable() bool { return r.durable }

// Revision is store.Reader.Revision.
func (r *Reader) Revision(tables ...Table) uint64 { return r.store.Revision(tables...) }

// Hash is DB.Hash.
func (r *Reader) Hash(purpose, text string) Hash { return r.db.Hash(purpose, text) }

// Sealed returns the sealed bytes at key, or store.ErrNotFound. They are valid
// until the transaction's function returns.
func (r *Reader) Sealed(key []byte) ([]byte, error) {
	if err := r.trust(key); err != nil {
		return nil, err
	}
	return r.store.Get(key)
}

// Has reports whether a record exists at key, without opening it.
func (r *Reader) Has(key []byte) (bool, error) {
	_, err := r.store.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Open opens the sealed bytes of the record at key.
func (r *Reader) Open(key, sealed []byte) ([]byte, error) {
	if err := r.trust(key); err != nil {
		return nil, err
	}
	return r.open(key, sealed)
}

// OpenJSON opens and decodes the sealed bytes of the record at key.
func (r *Reader) OpenJSON(key, sealed []byte, into any) error {
	plain, err := r.Open(key, sealed)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(plain, into); err != nil {
		return Damaged(key, err)
	}
	return nil
}

// RequireJSON decodes the record at key, which must exist because another record
// refers to it.
func (r *Reader) RequireJSON(key []byte, into any) error {
	sealed, err := r.Sealed(key)
	if errors.Is(err, store.ErrNotFound) {
		return Damaged(key, err)
	}
	if err != nil {
		return err
	}
	return r.OpenJSON(key, sealed, into)
}

// Scan calls fn with each record from from (inclusive) to to (exclusive; nil is the
// end), in the order of their keys, until fn returns false or an error, which Scan
// then returns. The bytes are valid until fn returns. fn must not change the
// scanned range.
func (r *Reader) Scan(from, to []byte, fn func(key, sealed []byte) (more bool, err error)) error {
	if to == nil {
		to = keysetKey
	}
	return r.store.Scan(from, to, fn)
}

// ScanPrefix is Scan over all keys that begin with prefix.
func (r *Reader) ScanPrefix(prefix []byte, fn func(key, sealed []byte) (more bool, err error)) error {
	return r.store.Scan(prefix, store.PrefixEnd(prefix), fn)
}

// ScanIDs calls fn with the ID of each record of a table whose keys start with an
// ID.
func (r *Reader) ScanIDs(table Table, fn func(ID) error) error {
	return r.ScanPrefix(Key(table), func(k, _ []byte) (bool, error) {
		id, err := IDAt(k, 1)
		if err != nil {
			return false, err
		}
		return true, fn(id)
	})
}

// Load returns the record at key decoded into a T, nil if there is none. The T is
// shared and must not be modified.
func Load[T any](r *Reader, key []byte) (*T, error) {
	return LoadFunc(r, key, func(plain []byte) (*T, error) { return fromJSON[T](key, plain) })
}

// LoadFunc is Load with a custom decoder. If decode reads other records, they must
// never change without this one.
func LoadFunc[T any](r *Reader, key []byte, decode func(plain []byte) (*T, error)) (*T, error) {
	sealed, err := r.Sealed(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decoded(r, key, sealed, decode)
}

// Decode is Load for a record whose sealed bytes have been read.
func Decode[T any](r *Reader, key, sealed []byte) (*T, error) {
	if err := r.trust(key); err != nil {
		return nil, err
	}
	return decoded(r, key, sealed, func(plain []byte) (*T, error) { return fromJSON[T](key, plain) })
}

func fromJSON[T any](key, plain []byte) (*T, error) {
	d := new(T)
	if err := json.Unmarshal(plain, d); err != nil {
		return nil, Damaged(key, err)
	}
	return d, nil
}

func decoded[T any](r *Reader, key, sealed []byte, decode func(plain []byte) (*T, error)) (*T, error) {
	if known, ok := r.db.cache.find(key, sealed); ok {
		return known.decoded.(*T), nil
	}
	plain, err := r.Open(key, sealed)
	if err != nil {
		return nil, err
	}
	d, err := decode(plain)
	if err != nil {
		return nil, err
	}
	element := r.element(key, plain)
	if c, ok := any(d).(counted); ok {
		c.counted().element = element
	}
	r.db.cache.add(key, bytes.Clone(sealed), d, element)
	return d, nil
}
