package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/secretmap"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// inBackup reports whether backups include the table of a key. They exclude
// sessions, which are bound to their server; records that belong to the audit
// log's file; the latest clock time; the time of the last backup; and sums, which a
// restore recomputes.
func inBackup(key []byte) bool {
	switch record.TableOf(key) {
	case record.TableSession, record.TableSessionOf, record.TableOutbox, record.TableTaken, record.TableCheckpoint, record.TableClock,
		record.TableBackup, record.TableDirectory, record.TableRoot:
		return false
	}
	return true
}

// Backup writes a snapshot of all data, in sealed form, with the wrapped keyset
// that opens it. Needs an operator.
//
// It opens every record before it writes anything, because a backup of damaged
// data couldn't be restored. If Backup fails after that, the output is
// recognizably incomplete.
func (k *Keep) Backup(ctx context.Context, c Caller, w io.Writer) error {
	rec := c.record("backup", 0)
	if !c.Operator() {
		return k.recordOutcome(rec, k.now(), ErrNotOperator)
	}
	if k.wrappedKeys == nil && k.cluster == nil {
		return k.recordOutcome(rec, k.now(), errorf(CodeUnprocessable, "this server can't be backed up"))
	}
	// While the lock is held no key is added or dropped, so the keyset opens every
	// record in the store's snapshot.
	unlock := sync.OnceFunc(k.keysChange.Unlock)
	k.keysChange.Lock()
	defer unlock()
	keys := k.records.Keys()
	var wrapped []byte
	var err error
	if k.wrappedKeys != nil {
		wrapped, err = k.wrappedKeys(keys)
	}
	if err != nil {
		return k.recordOutcome(rec, k.now(), domain(err))
	}
	k.backups.running.Add(1)
	defer k.backups.running.Add(-1)
	k.backups.start(0)
	written := false
	err = k.records.View(ctx, func(r *record.Reader) error {
		unlock()
		v := k.view(r)
		own, shared, err := r.Keyset()
		if err != nil {
			return err
		}
		if shared != nil {
			keys, wrapped = own, shared
		}
		err = v.eachInBackup(func(key, sealed []byte) error {
			k.backups.done.Add(1)
			return verifyRecord(keys, backup.Format, key, sealed)
		})
		if err == nil {
			err = v.verifySums()
		}
		if err != nil {
			return err
		}
		// The record comes first, because data is sent while it is read.
		if err := k.recordOutcome(rec, k.now(), nil); err != nil {
			return err
		}
		written = true
		k.backups.start(k.backups.done.Load())
		return v.writeBackup(w, backup.Header{Created: v.Now.UTC(), Keyset: json.RawMessage(wrapped)})
	})
	switch {
	case err == nil:
		k.saveLastBackup(context.WithoutCancel(ctx), k.now())
		return nil
	case !written:
		return k.recordOutcome(rec, k.now(), domain(err))
	}
	// The log has the start of the backup, so it must have the failure too.
	broken := c.record("backup", 0)
	broken.Detail = "broken off"
	return k.recordOutcome(broken, k.now(), domain(err))
}

// backupRecord is when the last backup was completed.
type backupRecord struct {
	Completed time.Time `json:"completed"`
}

// saveLastBackup stores when a backup was completed, so that monitoring doesn't forget
// it at a restart. Another one may have been completed since.
func (k *Keep) saveLastBackup(ctx context.Context, at time.Time) {
	k.noteLastBackup(at)
	err := k.updateUnaudited(ctx, func(t *tx) error {
		last, err := record.Load[backupRecord](t.Reader, record.Key(record.TableBackup))
		if err != nil || last != nil && !at.After(last.Completed) {
			return err
		}
		return t.w.PutJSON(record.Key(record.TableBackup), backupRecord{at})
	})
	if err != nil {
		k.logger.Debug("the time of the backup can't be saved now", "error", err)
	}
}

// resumeLastBackup reads the time of the last backup.
func (k *Keep) resumeLastBackup(ctx context.Context) error {
	return k.readUnaudited(ctx, func(v *view) error {
		r, err := record.Load[backupRecord](v.Reader, record.Key(record.TableBackup))
		if err == nil && r != nil {
			k.noteLastBackup(r.Completed)
		}
		return err
	})
}

// noteLastBackup remembers when a backup was completed, unless it knows of a later one.
func (k *Keep) noteLastBackup(at time.Time) {
	for {
		last := k.lastBackup.Load()
		if last != nil && !at.After(*last) || k.lastBackup.CompareAndSwap(last, &at) {
			return
		}
	}
}

// LastBackup returns when the last backup was completed, or the zero time.
func (k *Keep) LastBackup() time.Time {
	if at := k.lastBackup.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// verifySums returns the first damage that the sums reveal.
func (v *view) verifySums() error {
	if err := v.verifyDirectory(); err != nil {
		return err
	}
	return v.k.maps.Organizations(v.Reader, func(org ID) error { return secretmap.Verify(v.Reader, org) })
}

// verifyDirectory is verifySums except for the sums of maps.
func (v *view) verifyDirectory() error {
	var first error
	_, err := v.VerifySums(func(d *record.DamageError) {
		if first == nil {
			first = d
		}
	})
	return errors.Join(err, first)
}

// eachInBackup calls fn with each record that backups include.
func (v *view) eachInBackup(fn func(key, sealed []byte) error) error {
	return v.Scan(nil, nil, func(key, sealed []byte) (bool, error) {
		if err := v.Context().Err(); err != nil {
			return false, err
		}
		if !inBackup(key) {
			return true, nil
		}
		return true, fn(key, sealed)
	})
}

func (v *view) writeBackup(w io.Writer, h backup.Header) error {
	// An error of the client's connection isn't the server's error.
	to := &receiver{w: w}
	out, err := backup.NewWriter(to, h, backupMAC(v.k.records.Keys()))
	if err == nil {
		err = v.eachInBackup(func(key, sealed []byte) error {
			v.k.backups.done.Add(1)
			return out.Add(key, sealed)
		})
	}
	if err == nil {
		err = out.Close()
	}
	if to.err != nil {
		return &Error{Code: CodeUnavailable, Message: "the backup was broken off", Err: to.err}
	}
	return err
}

// backupMAC authenticates a backup as a whole.
func backupMAC(keys *seal.Keys) hash.Hash { return keys.MAC("backup") }

// receiver remembers the error of the backup's destination.
type receiver struct {
	w   io.Writer
	err error
}

func (r *receiver) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	r.err = err
	return n, err
}

// restoreBatch is the number of bytes per transaction. A store on other machines takes
// only so many records at once.
const restoreBatch, sharedBatch = 4 << 20, 100

// verifyRecord checks that a record belongs in a backup of this format and can be
// opened.
func verifyRecord(keys *seal.Keys, format int, key, sealed []byte) error {
	if len(key) == 0 || !inBackup(key) {
		return fmt.Errorf("%w: it has %s", backup.ErrDamaged, record.Describe(key))
	}
	if format > 1 {
		_, err := record.Open(keys, key, sealed)
		return err
	}
	// Format 1 has no MAC. Records of newer backups don't open here, because they
	// were written to a store with sums.
	if _, err := keys.Open(sealed, key); err != nil {
		return record.Damaged(key, err)
	}
	return nil
}

// VerifyBackup reads a whole backup and opens each record with the keys that
// unlock returns. It returns the number of records.
func VerifyBackup(ctx context.Context, r io.Reader, unlock func(backup.Header) (*seal.Keys, error)) (records int, err error) {
	var keys *seal.Keys
	format := 0
	err = backup.Read(r, func(h backup.Header) (hash.Hash, error) {
		format = h.Format
		if keys, err = unlock(h); err != nil {
			return nil, err
		}
		return backupMAC(keys), nil
	}, func(key, sealed []byte) error {
		records++
		if err := ctx.Err(); err != nil {
			return err
		}
		return verifyRecord(keys, format, key, sealed)
	})
	return records, err
}

// Restore writes the records of a backup that passed VerifyBackup to an empty
// store. keys are those that open the backup.
func Restore(ctx context.Context, r io.Reader, s store.Store, keys *seal.Keys) error {
	type sealedRecord struct{ key, sealed []byte }
	var batch []sealedRecord
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
	err := backup.Read(r, func(backup.Header) (hash.Hash, error) {
		return backupMAC(keys), nil
	}, func(key, sealed []byte) error {
		batch = append(batch, sealedRecord{append([]byte(nil), key...), append([]byte(nil), sealed...)})
		size += len(key) + len(sealed)
		if size < restoreBatch && (s.Exclusive() || len(batch) < sharedBatch) {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	return record.New(s, keys, time.Now).Accept(ctx, secretmap.WriteSums)
}
