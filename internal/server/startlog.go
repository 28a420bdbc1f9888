package server

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
)

// startLog holds back log records until the server has started. If it fails to
// start, the user sees only the one line that says why.
type startLog struct {
	slog.Handler
	held *heldLog
}

// heldLog is shared by a handler and those derived from it.
type heldLog struct {
	done atomic.Bool

	mu      sync.Mutex
	records []heldRecord
}

type heldRecord struct {
	handler slog.Handler
	record  slog.Record
}

// holdLog returns a logger that holds back records, and the heldLog to release
// them.
func holdLog(l *slog.Logger) (*slog.Logger, *heldLog) {
	held := new(heldLog)
	return slog.New(&startLog{l.Handler(), held}), held
}

func (l *startLog) Handle(ctx context.Context, r slog.Record) error {
	if l.held.done.Load() || !l.held.hold(l.Handler, r) {
		return l.Handler.Handle(ctx, r)
	}
	return nil
}

func (l *startLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &startLog{l.Handler.WithAttrs(attrs), l.held}
}

func (l *startLog) WithGroup(name string) slog.Handler {
	return &startLog{l.Handler.WithGroup(name), l.held}
}

func (h *heldLog) hold(handler slog.Handler, r slog.Record) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done.Load() {
		return false
	}
	h.records = append(h.records, heldRecord{handler, r.Clone()})
	return true
}

// release logs the records that were held back.
func (h *heldLog) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.records {
		_ = r.handler.Handle(context.Background(), r.record) // a log that can't be written has nobody to tell
	}
	h.records = nil
	h.done.Store(true)
}
