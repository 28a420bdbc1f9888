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

// The outbox holds the audit records of changes from the moment the change is
// durable until the log's file is, so that a crash loses neither and a write
// waits for one sync of the disk, not two.

// outbox is the part in memory.
type outbox struct {
	mu        sync.Mutex
	unflushed int // records delivered since the last flush
	missed    []missedRecord
	// inDoubt are of changes that may have been made or not.
	inDoubt []missedRecord
	wake    chan struct{}

	flush   sync.Mutex       // held while one flush runs; guards what follows
	settled []audit.ID       // in the log's durable part, and still in the store
	retry   bool             // removing these failed, and may have succeeded all the same
	stored  audit.Checkpoint // the checkpoint in the store
}

// missedRecord is one that the log does not have.
type missedRecord struct {
	id   audit.ID
	line []byte
}

const (
	outboxDelay = time.Second // a background task's pace; no answer waits for it
	outboxFull  = 4096
)

func outboxKey(id audit.ID) []byte { return append(record.Key(record.TableOutbox), id[:]...) }

func (t *tx) putOutbox(id audit.ID, line []byte) error { return t.w.Put(outboxKey(id), line) }

// deliver appends the record of a durable change to the log. When that fails
// the record is safe in the store, and goes into the log as soon as it can be
// written; until then nothing else is answered.
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
		k.logger.Error("audit log can't be written, its records wait in the store", "error", err)
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
		_ = k.recordRefusals(false) // they stay counted, and the audit log has said what is wrong
		if err := k.flushOutbox(ctx); err != nil && ctx.Err() == nil {
			k.logger.Warn("audit records stay in the store for now", "error", err)
		}
	}
}

// flushOutbox makes the log durable, removes from the store the records that
// it holds, and stores how far it is.
func (k *Keep) flushOutbox(ctx context.Context) error {
	o := &k.outbox
	o.flush.Lock()
	defer o.flush.Unlock()
	// This frees more space than it takes, and a start can't do without it.
	ctx = store.WithReserve(ctx)
	if err := k.resolveInDoubt(ctx); err != nil {
		return fmt.Errorf("find out what was changed: %w", err)
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

// flushIfWritable is flushOutbox, and leaves the outbox as it is while the
// store takes no changes: the next flush, or the next start, empties it.
func (k *Keep) flushIfWritable(ctx context.Context) error {
	err := k.flushOutbox(ctx)
	if errors.Is(err, store.ErrUnavailable) {
		k.logger.Warn("audit records stay in the store for now", "error", err)
		return nil
	}
	return err
}

// retryMissed appends what the log could not take before.
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

// AuditCheckpoint returns the place in the audit log that the store vouches
// for, zero when there is none yet. It is for offline verification, so it
// takes no Caller.
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

// recoverOutbox, at start, appends to the log what is in the store and not
// yet in the log, and then empties the outbox.
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
					return false, record.Damaged(key, errors.New("its key is no record ID"))
				}
				return true, yield(audit.ID(key[1:]), line)
			})
		})
	})
	if err != nil {
		return err
	}
	if n > 0 {
		k.logger.Info("audit records brought over from the store", "records", n)
	}
	return k.flushIfWritable(ctx)
}
