package keep

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// inBackup says which tables a backup has: not sessions, which end with the
// server that they were made on, and not what belongs to the audit log's file.
func inBackup(key []byte) bool {
	switch key[0] {
	case tableSession, tableUserOf, tableOutbox, tableCheckpoint:
		return false
	}
	return true
}

// Backup writes all that is kept, as one moment had it, sealed as it is, with
// the wrapped keyset that opens it. Needs an operator. When it fails, what was
// written is no whole backup, and can be told from one.
func (k *Keep) Backup(ctx context.Context, c Caller, keyset []byte, w io.Writer) error {
	rec := c.record("backup", 0)
	if !c.Operator() {
		return k.finish(rec, k.now(), ErrNotOperator)
	}
	// The record comes first: the bytes leave while they are read.
	if err := k.finish(rec, k.now(), nil); err != nil {
		return err
	}
	out, err := backup.NewWriter(w, backup.Header{Created: k.now().UTC(), Keyset: json.RawMessage(keyset)})
	if err != nil {
		return err
	}
	err = k.store.View(ctx, func(r store.Reader) error {
		return r.Scan(nil, nil, func(key, sealed []byte) (bool, error) {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			if !inBackup(key) {
				return true, nil
			}
			return true, out.Add(key, sealed)
		})
	})
	if err != nil {
		return domain(err)
	}
	return out.Close()
}

// restoreBatch is how many bytes go into one transaction.
const restoreBatch = 4 << 20

// verifyRecord checks that a record belongs into a backup and opens.
func verifyRecord(keys *seal.Keys, key, sealed []byte) error {
	if len(key) == 0 || !inBackup(key) {
		return fmt.Errorf("%w: it has %s", backup.ErrDamaged, describeKey(key))
	}
	if _, err := keys.Open(sealed, key); err != nil {
		return damaged(describeKey(key), err)
	}
	return nil
}

// VerifyBackup reads a whole backup and opens each record with the keys that
// unlock makes from its wrapped keyset. It returns the number of records.
func VerifyBackup(r io.Reader, unlock func(backup.Header) (*seal.Keys, error)) (records int, err error) {
	var keys *seal.Keys
	err = backup.Read(r, func(h backup.Header) (err error) {
		keys, err = unlock(h)
		return err
	}, func(key, sealed []byte) error {
		records++
		return verifyRecord(keys, key, sealed)
	})
	return records, err
}

// Restore writes the records of a backup, which VerifyBackup has found whole,
// into an empty store.
func Restore(ctx context.Context, r io.Reader, s store.Store) error {
	type record struct{ key, sealed []byte }
	var batch []record
	size := 0
	flush := func() error {
		err := s.Update(ctx, func(w store.Tx) error {
			for _, r := range batch {
				if err := w.Set(r.key, r.sealed); err != nil {
					return err
				}
			}
			return nil
		})
		batch, size = batch[:0], 0
		return err
	}
	err := backup.Read(r, func(backup.Header) error { return nil }, func(key, sealed []byte) error {
		batch = append(batch, record{append([]byte(nil), key...), append([]byte(nil), sealed...)})
		if size += len(key) + len(sealed); size < restoreBatch {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}
