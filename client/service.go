package client

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// SecretService gives the values of one organization's secrets by name, from a
// cache that it keeps right by version. It is what Flux takes as its secret
// service. Its methods may be called by several goroutines at once.
type SecretService struct {
	c      *Client
	orgID  string
	maxAge time.Duration
	now    func() time.Time

	turn chan struct{} // held by the one who asks the server

	mu      sync.RWMutex
	known   Values
	asked   map[string]bool // the names that known is about
	checked time.Time       // when the server last said that known is right
	changes uint64          // counts the changes of values that were known
}

// SecretServiceOptions of a SecretService. Nil is valid.
type SecretServiceOptions struct {
	// MaxAge is how long a value is given without asking the server whether
	// it has changed; 10 seconds by default, less than 0 to ask each time.
	MaxAge time.Duration

	now func() time.Time // for tests
}

const (
	defaultMaxAge = 10 * time.Second
	// maxAsked bounds the bytes of the names that are kept up to date together:
	// they are all part of one request's query.
	maxAsked = 4096
)

// SecretService makes a secret service for an organization, given by its ID.
func (c *Client) SecretService(orgID string, o *SecretServiceOptions) *SecretService {
	s := &SecretService{c: c, orgID: orgID, maxAge: defaultMaxAge, now: time.Now, turn: make(chan struct{}, 1)}
	if o != nil && o.MaxAge != 0 {
		s.maxAge = max(o.MaxAge, 0)
	}
	if o != nil && o.now != nil {
		s.now = o.now
	}
	return s
}

// LoadSecret returns the value of the secret named k, or an error that is
// ErrNotFound. A value may be as old as MaxAge.
func (s *SecretService) LoadSecret(ctx context.Context, k string) (string, error) {
	if k == "" {
		return "", notFound("secret", k)
	}
	if v, ok, fresh := s.cached(k); fresh {
		return found(k, v, ok)
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	// Who had the turn before may have asked for the same.
	if v, ok, fresh := s.cached(k); fresh {
		return found(k, v, ok)
	}
	v, ok, err := s.refresh(ctx, k)
	if err != nil {
		return "", fmt.Errorf("load secret %q: %w", k, err)
	}
	return found(k, v, ok)
}

func found(k, value string, ok bool) (string, error) {
	if !ok {
		return "", notFound("secret", k)
	}
	return value, nil
}

// cached returns what is known of a name, and whether that is fresh enough.
func (s *SecretService) cached(k string) (value string, ok, fresh bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.asked[k] || s.now().Sub(s.checked) >= s.maxAge {
		return "", false, false
	}
	value, ok = s.known.Secrets[k]
	return value, ok, true
}

// refresh asks the server for k and for what was asked for before.
func (s *SecretService) refresh(ctx context.Context, k string) (string, bool, error) {
	q, known := s.query(k)
	start := s.now()
	v, changed, err := s.c.Values(ctx, s.orgID, &q)
	if err != nil {
		return "", false, err
	}
	s.keep(start, q, v, changed)
	if changed {
		known = v
	}
	value, ok := known.Secrets[k]
	return value, ok, nil
}

// query asks for what was asked for before and, unless it is empty, for k. It
// also returns what is known, to which its ETag belongs.
func (s *SecretService) query(k string) (ValuesQuery, Values) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names, size := slices.Sorted(maps.Keys(s.asked)), len(k)
	if k == "" || s.asked[k] {
		return ValuesQuery{Names: names, ETag: s.known.ETag}, s.known
	}
	for _, n := range names {
		size += len(n)
	}
	if size > maxAsked {
		names = nil // begin anew: some of these may not be needed any more
	}
	return ValuesQuery{Names: append(names, k)}, Values{}
}

// keep takes an answer, if it is not older than what is known. start is when
// it was asked for: what changed after that may not be in it.
func (s *SecretService) keep(start time.Time, q ValuesQuery, v Values, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if start.Before(s.checked) || !changed && q.ETag != s.known.ETag {
		return
	}
	s.checked = start
	if !changed {
		return
	}
	asked := make(map[string]bool, len(q.Names))
	for _, n := range q.Names {
		asked[n] = true
		was, had := s.known.Secrets[n]
		is, has := v.Secrets[n]
		if s.asked[n] && (was != is || had != has) {
			s.changes++
		}
	}
	s.known, s.asked = v, asked
}

// Watch keeps the cache up to date while it runs, and calls changed each time
// that a secret which was loaded before has changed. It returns as
// Client.Watch does.
func (s *SecretService) Watch(ctx context.Context, changed func()) error {
	seen := s.seen()
	poll := func(ctx context.Context) (bool, error) {
		if err := s.wait(ctx); err != nil {
			return false, err
		}
		now := s.seen()
		news := now != seen
		seen = now
		return news, nil
	}
	return watch(ctx, poll, &WatchOptions{}, func() error { changed(); return nil })
}

func (s *SecretService) seen() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changes
}

// wait asks the server to answer when what was loaded before has changed.
func (s *SecretService) wait(ctx context.Context) error {
	q, _ := s.query("")
	if len(q.Names) == 0 {
		return nil // nothing was loaded yet
	}
	q.Wait = watchWait
	v, changed, err := s.c.Values(ctx, s.orgID, &q)
	if err != nil {
		return err
	}
	if again, _ := s.query(""); !slices.Equal(again.Names, q.Names) {
		return nil // more was loaded meanwhile, which this answer knows nothing of
	}
	s.keep(s.now(), q, v, changed) // the server has looked at the end of the wait
	return nil
}
