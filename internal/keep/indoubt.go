package keep

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// A transaction is in doubt if the store reports that it failed but may have
// committed it all the same, which may show only once the store has recovered
// (see store.ErrUnavailable). The audit record of such a change waits until a
// later change succeeds, and is then either logged or dropped.

// transact runs fn in a store transaction that writes. inDoubt reports that the
// transaction failed but may have been committed.
func (k *Keep) transact(ctx context.Context, fn func(*tx) error) (inDoubt bool, err error) {
	if err := k.checkAhead(); err != nil {
		return false, err
	}
	t := &tx{}
	written := false
	err = k.records.Update(ctx, func(w *record.Writer) error {
		t.view, t.w, t.dir = *k.view(&w.Reader), w, k.directory.Write(w)
		written = false
		if err := fn(t); err != nil {
			return err
		}
		written = true
		return nil
	})
	return err != nil && written, err
}

// addInDoubt adds the audit record of a change that is in doubt.
func (k *Keep) addInDoubt(r missedRecord) {
	o := &k.outbox
	o.mu.Lock()
	o.inDoubt = append(o.inDoubt, r)
	o.mu.Unlock()
}

// resolveInDoubt finds out which changes in doubt were committed. Their audit
// records were committed with them and still have to be logged. The outbox's flush must
// be held.
func (k *Keep) resolveInDoubt(ctx context.Context) error {
	o := &k.outbox
	o.mu.Lock()
	inDoubt := o.inDoubt
	o.mu.Unlock()
	if len(inDoubt) == 0 {
		return nil
	}
	var made []missedRecord
	err := k.updateUnaudited(ctx, func(t *tx) error {
		made = made[:0]
		for _, r := range inDoubt {
			ok, err := t.Has(outboxKey(k.self(), r.id))
			if err != nil {
				return err
			}
			if ok {
				made = append(made, r)
			}
		}
		// Only after a change can't the others be made any more, so write what is there.
		return t.w.PutJSON(checkpointKey(k.self()), o.stored)
	})
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.inDoubt = o.inDoubt[len(inDoubt):]
	o.missed = append(o.missed, made...)
	o.mu.Unlock()
	if len(made) > 0 {
		k.logger.Warn("changes reported as failed turned out to be committed", "changes", len(made))
		k.watchers.notifyAll()
	}
	return nil
}
