package keep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// When a server dies, its last audit records may be in the store alone, or also in
// its log, which only its own disk can tell. Another server takes them over: it
// moves them to its own outbox, and leaves a list for the dead one. When that is
// back, it logs the list before anything else, so that a record in both logs is
// explained (see audit.VerifyTogether).
//
// Nothing depends on whether the server was really dead: one that was only paused
// finds the list in the same way.

// clusterPeriod is how often the server that leads looks for records to take over.
const clusterPeriod = 5 * time.Second

// takenRecord lists audit records that another server has taken over.
type takenRecord struct {
	By  ID         `json:"by"`
	IDs []audit.ID `json:"ids"`
}

// takeOverBatch is the number of records for one transaction.
const takeOverBatch = 32

func takenKey(server ID, first audit.ID) []byte {
	return append(record.Key(record.TableTaken, server), first[:]...)
}

// watchCluster takes over the records of servers that have died.
func (k *Keep) watchCluster(ctx context.Context) {
	every(ctx, clusterPeriod, func() {
		if !k.leads() || k.log.Err() != nil {
			return
		}
		if err := k.takeOver(ctx); err != nil && ctx.Err() == nil {
			k.logger.Warn("the audit records of a server that is gone can't be taken over; retrying", "error", err)
		}
	})
}

// takeOver moves the outboxes of servers that don't run to this server's.
func (k *Keep) takeOver(ctx context.Context) error {
	waiting, err := k.withOutbox(ctx)
	if err != nil || len(waiting) == 0 {
		return err
	}
	running, err := k.cluster.Running(ctx)
	if err != nil {
		return err
	}
	var errs []error // one server's damaged records don't hold up the others'
	for _, server := range waiting {
		if server != k.self() && !slices.Contains(running, server) {
			errs = append(errs, k.takeOverAll(ctx, server))
		}
	}
	return errors.Join(errs...)
}

// takeOverAll moves a server's outbox.
func (k *Keep) takeOverAll(ctx context.Context, server ID) error {
	for total := 0; ; {
		n, err := k.takeOverFrom(ctx, server)
		if err != nil {
			return fmt.Errorf("server %s: %w", server, err)
		}
		if n == 0 {
			k.logger.Info("took over audit records of a server that is gone", "server", server.String(), "records", total)
			return nil
		}
		total += n
	}
}

// withOutbox returns the servers whose outboxes aren't empty.
func (k *Keep) withOutbox(ctx context.Context) (servers []ID, err error) {
	err = k.readUnaudited(ctx, func(v *view) error {
		servers = servers[:0]
		next := record.Key(record.TableOutbox)
		for len(next) > 0 {
			from := next
			next = nil
			err := v.Scan(from, record.Key(record.TableOutbox+1), func(key, _ []byte) (bool, error) {
				server, err := record.IDAt(key, 1)
				if err == nil {
					servers = append(servers, server)
					next = record.Key(record.TableOutbox, server+1)
				}
				return false, err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return servers, err
}

// takeOverFrom moves a few records, and returns how many.
func (k *Keep) takeOverFrom(ctx context.Context, server ID) (int, error) {
	var taken []missedRecord
	inDoubt, err := k.transact(ctx, func(t *tx) error {
		taken = taken[:0]
		var keys [][]byte
		err := t.eachInOutbox(server, func(id audit.ID, line []byte) (bool, error) {
			taken = append(taken, missedRecord{id, audit.TakeOver(line, server.String())})
			keys = append(keys, outboxKey(server, id))
			return len(taken) < takeOverBatch, nil
		})
		if err != nil || len(taken) == 0 {
			return err
		}
		if err := t.w.RemoveAll(keys); err != nil {
			return err
		}
		list := takenRecord{By: k.self()}
		for _, r := range taken {
			list.IDs = append(list.IDs, r.id)
			if err := t.putOutbox(r.id, r.line); err != nil {
				return err
			}
		}
		return t.w.PutJSON(takenKey(server, list.IDs[0]), list)
	})
	for _, r := range taken {
		switch {
		case err == nil:
			k.deliver(r.id, r.line)
		case inDoubt:
			k.addInDoubt(r)
		}
	}
	return len(taken), err
}

// acknowledgeTaken logs which of this server's records others have taken over, and
// forgets those that it has not logged yet.
func (k *Keep) acknowledgeTaken(ctx context.Context) error {
	if k.cluster == nil {
		return nil
	}
	var keys [][]byte
	var lists []takenRecord
	err := k.readUnaudited(ctx, func(v *view) error {
		keys, lists = nil, nil
		return v.ScanPrefix(record.Key(record.TableTaken, k.self()), func(key, sealed []byte) (bool, error) {
			var list takenRecord
			err := v.OpenJSON(key, sealed, &list)
			keys, lists = append(keys, slices.Clone(key)), append(lists, list)
			return true, err
		})
	})
	if err != nil || len(lists) == 0 {
		return err
	}
	for _, list := range lists {
		k.forgetMissed(list.IDs)
		rec := (&Caller{}).record("audit.taken-over", 0)
		rec.Target, rec.TakenOver = list.By.String(), list.IDs
		if err := k.recordOutcome(rec, k.now(), nil); err != nil {
			return err
		}
	}
	if _, err := k.log.Sync(); err != nil {
		return err
	}
	k.logger.Info("another server took over audit records of this one", "lists", len(lists))
	return k.updateUnaudited(ctx, func(t *tx) error { return t.w.RemoveAll(keys) })
}

// forgetMissed drops records that the log doesn't have and that another server
// logs.
func (k *Keep) forgetMissed(ids []audit.ID) {
	o := &k.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	o.missed = slices.DeleteFunc(o.missed, func(r missedRecord) bool { return slices.Contains(ids, r.id) })
}
