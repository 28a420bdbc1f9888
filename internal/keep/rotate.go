package keep

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// A rotation adds a data key, re-encrypts every record with it, and drops the old
// keys once no record needs them. Its only state is the keyset: as long as that
// has more than one key, there may be records to re-encrypt, even after a crash.

// KeyStatus has the data keys and the progress of a rotation.
type KeyStatus struct {
	Keys     []seal.KeyInfo
	Rotating bool  // records are being re-encrypted
	Done     int64 // records checked in this pass
	Total    int64 // records to check, 0 if not known yet
	Err      string
}

type rotation struct {
	running     atomic.Bool
	done, total atomic.Int64
	err         atomic.Pointer[string]
	start       chan struct{}
	// saving is held while a changed keyset is saved, which may call a service.
	saving sync.Mutex
}

// KeyStatus returns the IDs of the data keys and the progress of a rotation. Needs
// an operator.
func (k *Keep) KeyStatus(ctx context.Context, c Caller) (KeyStatus, error) {
	rec := c.record("keys.status", 0)
	if !c.Operator() {
		return KeyStatus{}, k.recordOutcome(rec, k.now(), ErrNotOperator)
	}
	s := KeyStatus{
		Keys: k.records.Keys().KeyInfos(), Rotating: k.rotation.running.Load(),
		Done: k.rotation.done.Load(), Total: k.rotation.total.Load(),
	}
	if k.cluster != nil { // another server may do it
		s.Rotating = len(s.Keys) > 1
	}
	if e := k.rotation.err.Load(); e != nil {
		s.Err = *e
	}
	return s, k.recordOutcome(rec, k.now(), nil)
}

// RotateKeys adds a data key, which encrypts everything from now on, and starts to
// re-encrypt existing records. Needs an operator. It fails with CodeConflict while
// a rotation is under way.
func (k *Keep) RotateKeys(ctx context.Context, c Caller) error {
	rec := c.record("keys.rotate", 0)
	if !c.Operator() {
		return k.recordOutcome(rec, k.now(), ErrNotOperator)
	}
	if k.saveKeys == nil {
		return k.recordOutcome(rec, k.now(), errorf(CodeUnprocessable, "this server can't rotate its keys"))
	}
	underWay := errorf(CodeConflict, "a rotation is under way")
	if !k.rotation.saving.TryLock() {
		return k.recordOutcome(rec, k.now(), underWay)
	}
	defer k.rotation.saving.Unlock()
	now, stored, err := k.records.Keyset(ctx)
	if err != nil {
		return k.recordOutcome(rec, k.now(), domain(err))
	}
	if len(now.KeyInfos()) > 1 {
		return k.recordOutcome(rec, k.now(), underWay)
	}
	next, err := now.WithNewKey()
	if err == nil {
		// The key must be durable before anything is sealed with it.
		err = k.saveKeys(ctx, stored, next)
	}
	if errors.Is(err, record.ErrKeysetChanged) {
		return k.recordOutcome(rec, k.now(), underWay)
	}
	if err != nil {
		return k.recordOutcome(rec, k.now(), &Error{Code: CodeUnavailable, Message: "the new keyset can't be saved: see the server's log", Err: err})
	}
	k.keysChange.Lock()
	k.records.SetKeys(next)
	k.keysChange.Unlock()
	rec.Detail = fmt.Sprintf("data key %d", next.PrimaryKeyID())
	select {
	case k.rotation.start <- struct{}{}:
	default:
	}
	return k.recordOutcome(rec, k.now(), nil)
}

// useKeys determines where the keyset is.
func (k *Keep) useKeys(c Config) {
	k.wrappedKeys = c.WrappedKeys
	switch {
	case c.SharedKeys != nil:
		k.records.FollowKeyset(c.SharedKeys.Loaded, c.SharedKeys.Open)
		k.saveKeys = func(ctx context.Context, stored record.StoredKeyset, next *seal.Keys) error {
			wrapped, err := c.SharedKeys.Wrap(ctx, next)
			if err != nil {
				return err
			}
			return k.records.ReplaceKeyset(ctx, stored, stored.Next(wrapped))
		}
	case c.SaveKeys != nil:
		k.saveKeys = func(ctx context.Context, _ record.StoredKeyset, next *seal.Keys) error { return c.SaveKeys(ctx, next) }
	}
}

// rotate re-encrypts records whenever the keyset has more than one key.
func (k *Keep) rotate(ctx context.Context) {
	var others <-chan time.Time // other servers may start a rotation, or leave one
	if k.cluster != nil {
		tick := time.NewTicker(clusterPeriod)
		defer tick.Stop()
		others = tick.C
	}
	for {
		if len(k.records.Keys().KeyInfos()) > 1 && k.saveKeys != nil && k.leads() {
			k.rotation.running.Store(true)
			err := k.reseal(ctx)
			k.rotation.running.Store(false)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				text := domain(err).Error()
				k.rotation.err.Store(&text)
				k.logger.Error("re-encryption paused, will retry", "error", err)
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Minute):
				}
				continue
			}
			k.rotation.err.Store(nil)
		}
		select {
		case <-ctx.Done():
			return
		case <-k.rotation.start:
		case <-others:
		}
	}
}

const resealBatch = 256

// reseal re-encrypts records until none needs an old key, and then drops the old
// keys.
func (k *Keep) reseal(ctx context.Context) error {
	keys, _, err := k.records.Keyset(ctx)
	if err != nil {
		return err
	}
	primary := keys.PrimaryKeyID()
	k.rotation.done.Store(0)
	k.rotation.total.Store(0)
	var total int64
	err = k.readUnaudited(ctx, func(v *view) error {
		return v.Scan(nil, nil, func(_, _ []byte) (bool, error) { total++; return true, ctx.Err() })
	})
	if err != nil {
		return err
	}
	k.rotation.total.Store(total)
	// Records written after the new key became primary use it, so one pass finds
	// all others except those of transactions that were under way. So passes
	// repeat until one finds nothing.
	for found := true; found; {
		if found, err = k.resealPass(ctx, primary); err != nil {
			return err
		}
	}
	k.rotation.saving.Lock()
	defer k.rotation.saving.Unlock()
	keys, stored, err := k.records.Keyset(ctx)
	if err != nil {
		return err
	}
	if keys.PrimaryKeyID() != primary {
		return record.ErrKeysetChanged
	}
	for _, info := range keys.KeyInfos() {
		if info.Primary {
			continue
		}
		if keys, err = keys.WithoutKey(info.ID); err != nil {
			return err
		}
	}
	if err := k.saveKeys(ctx, stored, keys); err != nil {
		return err
	}
	k.keysChange.Lock()
	k.records.SetKeys(keys)
	k.keysChange.Unlock()
	k.logger.Info("all records use the new data key; the old one was dropped", "key", fmt.Sprintf("%08x", keys.PrimaryKeyID()))
	return nil
}

func (k *Keep) resealPass(ctx context.Context, primary uint32) (found bool, err error) {
	from := []byte(nil)
	k.rotation.done.Store(0)
	for {
		var old [][]byte
		next := []byte(nil)
		err := k.readUnaudited(ctx, func(v *view) error {
			n := 0
			return v.Scan(from, nil, func(key, sealed []byte) (bool, error) {
				if n++; n > 16*resealBatch || len(old) == resealBatch {
					next = append([]byte(nil), key...)
					return false, ctx.Err()
				}
				k.rotation.done.Add(1)
				if id, ok := k.records.Keys().KeyID(sealed); ok && id != primary {
					old = append(old, append([]byte(nil), key...))
				}
				return true, nil
			})
		})
		if err != nil {
			return false, err
		}
		if len(old) > 0 {
			found = true
			if err := k.resealRecords(ctx, old); err != nil {
				return false, err
			}
		}
		if next == nil {
			return found, nil
		}
		from = next
	}
}

// resealRecords re-encrypts records with the primary key. A damaged one ends the
// pass, so the old key stays until an operator has dealt with it.
func (k *Keep) resealRecords(ctx context.Context, keys [][]byte) error {
	return k.updateUnaudited(ctx, func(t *tx) error {
		for _, key := range keys {
			if err := t.w.Reseal(key); err != nil {
				return err
			}
		}
		return nil
	})
}
