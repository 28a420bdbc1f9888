package keep

import (
	"context"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// A change that the store reports as failed may have been made all the same,
// and may be seen only when the store has recovered (see
// store.ErrUnavailable). Until a later change succeeds, which shows that it
// has, the audit record of such a change waits to be either logged or dropped.

// transact runs fn in a store transaction that writes. inDoubt says that it
// failed, and what fn wrote may have been made all the same.
func (k *Keep) transact(ctx context.Context, fn func(*tx) error) (inDoubt bool, err error) {
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

// addInDoubt keeps the audit record of a change that may have been made.
func (k *Keep) addInDoubt(r missedRecord) {
	o := &k.outbox
	o.mu.Lock()
	o.inDoubt = append(o.inDoubt, r)
	o.mu.Unlock()
}

// resolveInDoubt finds out which changes in doubt were made. Their audit records
// are in the store, with them, and are now missing in the log.
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
			ok, err := t.Has(outboxKey(r.id))
			if err != nil {
				return err
			}
			if ok {
				made = append(made, r)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.inDoubt = o.inDoubt[len(inDoubt):]
	o.missed = append(o.missed, made...)
	o.mu.Unlock()
	if len(made) > 0 {
		k.logger.Warn("changes that were reported as failed have been made", "changes", len(made))
		k.watchers.notifyAll()
	}
	return nil
}
