package keep

import (
	"context"
	"sync"
)

// Wait returns when an organization's secrets no longer match the tag, or when ctx
// ends. It isn't recorded as an access: the caller reads afterwards. Needs read on
// the organization's secrets.
func (k *Keep) Wait(ctx context.Context, c Caller, org ID, tag string) error {
	for {
		changed := k.watchers.on(org)
		same := false
		err := k.readUnaudited(ctx, func(v *view) error {
			r, err := v.readableMap(&c, org)
			if err == nil {
				same = r.Tag() == tag
			}
			return err
		})
		if err != nil {
			return k.recordOutcome(c.record("secrets.read", org), k.now(), domain(err))
		}
		if !same {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// watchers wakes callers that wait for a change of an organization's secrets.
type watchers struct {
	mu   sync.Mutex
	wait map[ID]chan struct{}
}

func (w *watchers) on(org ID) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wait == nil {
		w.wait = make(map[ID]chan struct{})
	}
	if w.wait[org] == nil {
		w.wait[org] = make(chan struct{})
	}
	return w.wait[org]
}

func (w *watchers) notify(org ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ch := w.wait[org]; ch != nil {
		close(ch)
		delete(w.wait, org)
	}
}

// notifyAll wakes all callers, for changes whose organization is unknown.
func (w *watchers) notifyAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.wait {
		close(ch)
	}
	clear(w.wait)
}
