package keep

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// The outbox holds the audit records of changes from the moment the change is
// durable until the log's file is, so that a crash loses neither and a write
// waits for one sync of the disk, not two.

// outbox is the part in memory.
type outbox struct {
	mu      sync.Mutex
	written []audit.ID // in the log, which is not synced yet
	missed  []missedRecord
	wake    chan struct{}
	flush   sync.Mutex // one flush at a time
}

// missedRecord is one that the log could not take. It is in the store too.
type missedRecord struct {
	id   audit.ID
	line []byte
}

const (
	outboxDelay = time.Second // a background task's pace; no answer waits for it
	outboxFull  = 4096
)

func outboxKey(id audit.ID) []byte { return append([]byte{tableOutbox}, id[:]...) }

func (t *tx) putOutbox(id audit.ID, line []byte) error { return t.put(outboxKey(id), line) }

// deliver appends the record of a durable change to the log. When that fails
// the record is safe in the store, and goes into the log as soon as it can be
// written; until then nothing else is answered.
func (k *Keep) deliver(id audit.ID, line []byte) {
	err := k.log.Append(line)
	o := &k.outbox
	o.mu.Lock()
	if err == nil {
		o.written = append(o.written, id)
	} else {
		o.missed = append(o.missed, missedRecord{id, line})
	}
	full := len(o.written) >= outboxFull
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
		if err := k.flushOutbox(ctx); err != nil && ctx.Err() == nil {
			k.logger.Warn("audit records stay in the store for now", "error", err)
		}
	}
}

// flushOutbox makes the log durable and removes from the store what it holds.
func (k *Keep) flushOutbox(ctx context.Context) error {
	o := &k.outbox
	o.flush.Lock()
	defer o.flush.Unlock()
	o.mu.Lock()
	written, missed := o.written, o.missed
	o.written, o.missed = nil, nil
	o.mu.Unlock()

	var err error
	for len(missed) > 0 && err == nil {
		if err = k.log.Append(missed[0].line); err == nil {
			written, missed = append(written, missed[0].id), missed[1:]
		}
	}
	if len(written) > 0 && err == nil {
		if err = k.clearOutbox(ctx, written); err == nil {
			written = nil
		}
	}
	o.mu.Lock()
	o.written, o.missed = append(o.written, written...), append(o.missed, missed...)
	o.mu.Unlock()
	return err
}

// clearOutbox syncs the log and removes from the store the records that it
// holds.
func (k *Keep) clearOutbox(ctx context.Context, written []audit.ID) error {
	at, err := k.log.Sync()
	if err != nil {
		return fmt.Errorf("sync the audit log: %w", err)
	}
	return k.store.Update(ctx, func(w store.Tx) error {
		t := &tx{view: view{ctx: ctx, k: k, r: w}, w: w}
		for _, id := range written {
			if err := w.Delete(outboxKey(id)); err != nil {
				return err
			}
		}
		return t.putJSON(key(tableCheckpoint), at)
	})
}

// AuditCheckpoint returns the place in the audit log that the store vouches
// for, zero when there is none yet. It is for offline verification, so it
// takes no Caller.
func AuditCheckpoint(ctx context.Context, s store.Store, keys Opener) (audit.Checkpoint, error) {
	var at audit.Checkpoint
	err := s.View(ctx, func(r store.Reader) error {
		sealed, err := r.Get(key(tableCheckpoint))
		if err != nil {
			return err
		}
		plain, err := keys.Open(sealed, key(tableCheckpoint))
		if err != nil {
			return damaged(describeKey(key(tableCheckpoint)), err)
		}
		return json.Unmarshal(plain, &at)
	})
	if err == store.ErrNotFound {
		return audit.Checkpoint{}, nil
	}
	return at, err
}

// Opener opens sealed records.
type Opener interface {
	Open(sealed, place []byte) ([]byte, error)
}

// recoverOutbox, at start, appends to the log what is in the store and not
// yet in the log, and then empties the outbox.
func (k *Keep) recoverOutbox(ctx context.Context) error {
	since, err := AuditCheckpoint(ctx, k.store, k.keys.Load())
	if err != nil {
		return err
	}
	var ids []audit.ID
	pending := func(yield func(audit.ID, []byte) error) error {
		ids = ids[:0]
		return k.store.View(ctx, func(r store.Reader) error {
			v := &view{ctx: ctx, k: k, r: r}
			return r.Scan(key(tableOutbox), key(tableOutbox+1), func(key, sealed []byte) (bool, error) {
				line, err := v.open(key, sealed)
				if err != nil {
					return false, err
				}
				id := audit.ID(key[1:])
				ids = append(ids, id)
				return true, yield(id, line)
			})
		})
	}
	n, err := k.log.Recover(since, pending)
	if err != nil {
		return err
	}
	if n > 0 {
		k.logger.Info("audit records brought over from the store", "records", n)
	}
	if len(ids) == 0 {
		return nil
	}
	return k.clearOutbox(ctx, ids)
}
