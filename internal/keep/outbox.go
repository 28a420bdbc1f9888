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
	settled []audit.ID       // durable in the log, and maybe still in the store
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

// Each server has an outbox and a checkpoint of its own. The keys of a server whose
// store no other shares have no ID.

func outboxKey(server ID, id audit.ID) []byte {
	return append(serverKey(record.TableOutbox, server), id[:]...)
}

func checkpointKey(server ID) []byte { return serverKey(record.TableCheckpoint, server) }

func serverKey(table record.Table, server ID) []byte {
	if server == 0 {
		return record.Key(table)
	}
	return record.Key(table, server)
}

func (t *tx) putOutbox(id audit.ID, line []byte) error {
	return t.w.Put(outboxKey(t.k.self(), id), line)
}

// eachInOutbox calls fn with each record in a server's outbox, until it returns
// false or an error.
func (v *view) eachInOutbox(server ID, fn func(id audit.ID, line []byte) (bool, error)) error {
	prefix := serverKey(record.TableOutbox, server)
	return v.ScanPrefix(prefix, func(key, sealed []byte) (bool, error) {
		line, err := v.Open(key, sealed)
		if err != nil {
			return false, err
		}
		if len(key) != len(prefix)+len(audit.ID{}) {
			return false, record.Damaged(key, errors.New("its key is not a record ID"))
		}
		return fn(audit.ID(key[len(prefix):]), line)
	})
}

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
	ctx = store.WithReserve(ctx, store.LastReserve)
	if err := k.acknowledgeTaken(ctx); err != nil {
		return fmt.Errorf("log what other servers took over: %w", err)
	}
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
		keys := make([][]byte, len(o.settled))
		for i, id := range o.settled {
			keys[i] = outboxKey(k.self(), id)
		}
		if err := t.w.RemoveAll(keys); err != nil {
			return err
		}
		return t.w.PutJSON(checkpointKey(k.self()), at)
	})
	if err == nil {
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
// log of a server, zero if there is none yet. server is 0 if the store is its own.
// It takes no Caller because it is for offline verification.
func AuditCheckpoint(ctx context.Context, s store.Store, keys *seal.Keys, shared *SharedKeys, server ID) (audit.Checkpoint, error) {
	return auditCheckpoint(ctx, offlineRecords(s, keys, shared), server)
}

func auditCheckpoint(ctx context.Context, records *record.DB, server ID) (audit.Checkpoint, error) {
	var at audit.Checkpoint
	err := records.View(ctx, func(r *record.Reader) error {
		stored, err := record.Load[audit.Checkpoint](r, checkpointKey(server))
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
	since, err := auditCheckpoint(ctx, k.records, k.self())
	if err != nil {
		return err
	}
	k.outbox.stored = since
	n, err := k.log.Recover(since, func(yield func(audit.ID, []byte) error) error {
		return k.readUnaudited(ctx, func(v *view) error {
			return v.eachInOutbox(k.self(), func(id audit.ID, line []byte) (bool, error) { return true, yield(id, line) })
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
