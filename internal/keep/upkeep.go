package keep

import (
	"context"
	"errors"
)

// compacter is a store that can purge deleted and overwritten data from the disk.
type compacter interface {
	Compact(ctx context.Context) error
}

// Compact purges deleted data: the records of pruned versions, and their bytes on
// the disk. Needs an operator.
func (k *Keep) Compact(ctx context.Context, c Caller) error {
	rec := c.record("compact", 0)
	if !c.Operator() {
		return k.recordOutcome(rec, k.now(), ErrNotOperator)
	}
	err := k.sweepAll(ctx)
	if s, ok := k.store.(compacter); ok && err == nil {
		err = s.Compact(ctx)
	}
	return k.recordOutcome(rec, k.now(), domain(err))
}

// sweepAll removes the records that no stored version needs, one organization at a
// time.
func (k *Keep) sweepAll(ctx context.Context) error {
	var orgs []ID
	err := k.readUnaudited(ctx, func(v *view) error {
		orgs = orgs[:0]
		return k.maps.Organizations(v.Reader, func(id ID) error {
			orgs = append(orgs, id)
			return nil
		})
	})
	for _, org := range orgs {
		if err != nil {
			return err
		}
		err = k.updateUnaudited(ctx, func(t *tx) error {
			w, err := t.writer(&Caller{}, org)
			if err != nil {
				return err
			}
			return w.Sweep()
		})
		if errors.Is(err, errUnchanged) {
			err = nil
		}
	}
	return err
}
