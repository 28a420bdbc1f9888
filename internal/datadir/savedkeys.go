package datadir

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// savedKeys are the data keys of a running server and their wrapped forms. Each was
// unwrapped and compared before it was saved.
type savedKeys struct {
	dir    *dataDir
	shared store.Store // that holds the keyset instead of dir; nil if dir does
	logger *slog.Logger
	health atomic.Pointer[KeyHealth]

	mu     sync.Mutex // never held while waiting for a service
	last   *openedKeys
	before *openedKeys // still in use for a moment after a save
}

// KeyHealth says whether the next start can open the data keys. A running server
// doesn't need to.
type KeyHealth struct {
	Provider error // why the key-encryption key doesn't unwrap them
	File     error // why the folder's keyset isn't the saved one
	Checked  time.Time
}

func saveKeysIn(dir *dataDir, keys *openedKeys, logger *slog.Logger) *savedKeys {
	s := &savedKeys{dir: dir, logger: logger, last: keys}
	s.health.Store(&KeyHealth{Checked: time.Now()})
	return s
}

func (s *savedKeys) latest() *openedKeys {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// save makes changed data keys durable.
func (s *savedKeys) save(ctx context.Context, keys *seal.Keys) error {
	now := s.latest()
	wrapped, err := keys.Wrap(ctx, now.provider)
	if err != nil {
		return providerError(now.provider, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.dir.replaceKeyset(now.wrapped, wrapped); err != nil {
		return err
	}
	s.before, s.last = now, &openedKeys{keys, wrapped, now.provider, now.config}
	return nil
}

// wrapped returns the wrapped form of keys in use, for a backup. It is correct even
// if the folder's keyset no longer is; that is reported.
func (s *savedKeys) wrapped(keys *seal.Keys) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report(func(h *KeyHealth) { h.File = s.dir.checkKeyset(s.last.wrapped) })
	for _, k := range []*openedKeys{s.last, s.before} {
		if k != nil && k.Keys == keys {
			return k.wrapped, nil
		}
	}
	return nil, errors.New("the data keys in use were never saved")
}

// check checks whether the next start can open the data keys. It does the same, so
// it may wait for a service.
func (s *savedKeys) check(ctx context.Context) {
	now := s.latest()
	var err error
	if s.shared != nil {
		err = s.checkShared(ctx, now)
		if errors.Is(err, store.ErrUnavailable) {
			return // that is reported elsewhere
		}
	} else {
		var again *openedKeys
		if again, err = unlock(ctx, now.wrapped, now.config); err == nil && !again.Equal(now.Keys) {
			err = errors.New("the key-encryption key unwraps other data keys than those in use")
		}
	}
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled {
		return // the server is shutting down
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report(func(h *KeyHealth) {
		h.Provider, h.Checked = err, time.Now()
		if s.shared == nil {
			h.File = s.dir.checkKeyset(s.last.wrapped)
		}
	})
}

// checkShared checks whether the next start can open the keyset in the store.
func (s *savedKeys) checkShared(ctx context.Context, now *openedKeys) error {
	stored, err := keep.LoadKeyset(ctx, s.shared)
	if err == nil {
		_, err = unlock(ctx, stored.Wrapped, now.config)
	}
	return err
}

// wrap wraps changed data keys for the store. All servers must be able to open them.
func (s *savedKeys) wrap(ctx context.Context, keys *seal.Keys) ([]byte, error) {
	stored, err := keep.LoadKeyset(ctx, s.shared)
	if err != nil {
		return nil, err
	}
	needed, err := seal.Describe(stored.Wrapped)
	if err != nil {
		return nil, err
	}
	provider := s.latest().provider
	wrapped, err := keys.Wrap(ctx, provider)
	if err != nil {
		return nil, providerError(provider, err)
	}
	if has, err := seal.Describe(wrapped); err != nil || has != needed {
		return nil, errors.Join(errors.New("the keyset was wrapped with another key-encryption key since this server started: restart it with that key"), err)
	}
	return wrapped, nil
}

// report updates the health and logs changes.
func (s *savedKeys) report(change func(*KeyHealth)) {
	was := s.health.Load()
	is := *was
	change(&is)
	s.health.Store(&is)
	if is.Provider != nil && !sameError(was.Provider, is.Provider) {
		s.logger.Error("the key-encryption key can't be used: the server works on, but couldn't start again", "error", is.Provider)
	} else if is.Provider == nil && was.Provider != nil {
		s.logger.Info("the key-encryption key can be used again")
	}
	if is.File != nil && !sameError(was.File, is.File) {
		s.logger.Error("the server works on, but couldn't start again: make a backup, which holds the keyset in use, and restore it", "error", is.File)
	} else if is.File == nil && was.File != nil {
		s.logger.Info("the keyset in the data folder is right again")
	}
}

func sameError(a, b error) bool { return a != nil && a.Error() == b.Error() }
