package keep

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// The outbox stores the audit records of changes from the moment the change is
// durable until the log's file is, so a crash loses neither and a write waits for
// one sync of the disk instead of two.

// outbox is the part in memory.
type outbox struct {
	mu        sync.Mutex
	unflushed int // records delivered since the last flush
	missed    []missedRecord
	// inDoubt has the records of changes that may have been committed.
	inDoubt []missedRecord
	wake    chan struct{}

	flush   sync.Mutex       // held while one flush runs; guards what follows
	settled []audit.ID       // durable in the log, and still in the store
	retry   bool             // removing these is in doubt
	stored  audit.Checkpoint // the checkpoint in the store
}

// missedRecord is a record that the log doesn't have.
type missedRecord struct {
	id   audit.ID
	line []byte
}

const (
	outboxDelay = time.Second // interval of the background task; no request waits for it
	outboxFull  = 4096
)

func outboxKey(id audit.ID) []byte { return append(record.Key(record.TableOutbox), id[:]...) }

func (t *tx) putOutbox(id audit.ID, line []byte) error { return t.w.Put(outboxKey(id), line) }

// deliver appends the record of a durable change to the log. If that fails, the
// record is safe in the store and is appended once the log can be written; until
// then all other requests fail.
func (k *Keep) deliver(id audit.ID, line []byte) {
	err := k.log.AppendPending(line)
	o := &k.outbox
	o.mu.Lock()
	if o.unflushed++; err != nil {
		o.missed = append(o.missed, missedRecord{id, line})
	}
	full := o.unflushed >= outboxFull
	o.mu.Unlock()
	if err != nil {
		k.logger.Error("audit log can't be written; its records stay in the store for now", "error", err)
	}
	if full {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
}

func (k *Keep) drainOutbox(ctx context.Context) {
	tick := time.NewTicker(outboxDelay)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-k.outbox.wake:
		}
		_ = k.recordRefusals(false) // they stay counted, and the audit log has logged the error
		if err := k.flushOutbox(ctx); err != nil && ctx.Err() == nil {
			k.logger.Warn("audit records stay in the store for now", "error", err)
		}
	}
}

// flushOutbox makes the log durable, removes its records from the store, and
// stores a new checkpoint.
func (k *Keep) flushOutbox(ctx context.Context) error {
	o := &k.outbox
	o.flush.Lock()
	defer o.flush.Unlock()
	// This frees more space than it takes, and Open depends on it.
	ctx = store.WithReserve(ctx)
	if err := k.resolveInDoubt(ctx); err != nil {
		return fmt.Errorf("resolve changes in doubt: %w", err)
	}
	if err := k.retryMissed(); err != nil {
		return err
	}
	at, ids, err := k.log.Settle()
	if err != nil {
		return fmt.Errorf("sync the audit log: %w", err)
	}
	o.settled = append(o.settled, ids...)
	if at == o.stored && len(o.settled) == 0 {
		return nil
	}
	err = k.updateUnaudited(ctx, func(t *tx) error {
		remove := t.w.Remove
		if o.retry {
			remove = t.w.Delete
		}
		for _, id := range o.settled {
			if err := remove(outboxKey(id)); err != nil {
				return err
			}
		}
		return t.w.PutJSON(record.Key(record.TableCheckpoint), at)
	})
	if o.retry = err != nil; err == nil {
		o.settled, o.stored = nil, at
	}
	return err
}

// flushIfWritable is flushOutbox, but does nothing while the store takes no
// writes: the next flush or start empties the outbox.
func (k *Keep) flushIfWritable(ctx context.Context) error {
	err := k.flushOutbox(ctx)
	if errors.Is(err, store.ErrUnavailable) {
		k.logger.Warn("audit records stay in the store for now", "error", err)
		return nil
	}
	return err
}

// retryMissed appends records that couldn't be appended earlier.
func (k *Keep) retryMissed() error {
	o := &k.outbox
	o.mu.Lock()
	missed := o.missed
	o.missed, o.unflushed = nil, 0
	o.mu.Unlock()
	for i, m := range missed {
		if err := k.log.AppendPending(m.line); err != nil {
			o.mu.Lock()
			o.missed = append(missed[i:], o.missed...)
			o.mu.Unlock()
			return err
		}
	}
	return nil
}

// AuditCheckpoint returns the position up to which the store vouches for the audit
// log, zero if there is none yet. It takes no Caller because it is for offline
// verification.
func AuditCheckpoint(ctx context.Context, s store.Store, keys *seal.Keys) (audit.Checkpoint, error) {
	return auditCheckpoint(ctx, record.New(s, keys, time.Now))
}

func auditCheckpoint(ctx context.Context, records *record.DB) (audit.Checkpoint, error) {
	var at audit.Checkpoint
	err := records.View(ctx, func(r *record.Reader) error {
		stored, err := record.Load[audit.Checkpoint](r, record.Key(record.TableCheckpoint))
		if stored != nil {
			at = *stored
		}
		return err
	})
	return at, err
}

// recoverOutbox runs at startup. It appends the records that are in the store but
// not yet in the log, and then empties the outbox.
func (k *Keep) recoverOutbox(ctx context.Context) error {
	since, err := auditCheckpoint(ctx, k.records)
	if err != nil {
		return err
	}
	k.outbox.stored = since
	n, err := k.log.Recover(since, func(yield func(audit.ID, []byte) error) error {
		return k.readUnaudited(ctx, func(v *view) error {
			return v.ScanPrefix(record.Key(record.TableOutbox), func(key, sealed []byte) (bool, error) {
				line, err := v.Open(key, sealed)
				if err != nil {
					return false, err
				}
				if len(key) != 1+len(audit.ID{}) {
					return false, record.Damaged(key, errors.New("its key is not a record ID"))
				}
				return true, yield(audit.ID(key[1:]), line)
			})
		})
	})
	if err != nil {
		return err
	}
	if n > 0 {
		k.logger.Info("recovered audit records", "records", n)
	}
	return k.flushIfWritable(ctx)
}
