package client

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// SecretService returns the values of one organization's secrets by name, from
// a cache that it revalidates by version. It implements Flux's secret service.
// Its methods are safe for concurrent use.
type SecretService struct {
	c      *Client
	orgID  string
	maxAge time.Duration
	now    func() time.Time

	turn chan struct{} // held by the goroutine that is asking the server

	mu      sync.RWMutex
	known   Values
	asked   map[string]bool // the names that known covers
	checked time.Time       // when the server last confirmed known
	changes uint64          // number of changes to known values
}

// SecretServiceOptions of a SecretService. Nil is valid.
type SecretServiceOptions struct {
	// MaxAge is how long a value is served without asking the server whether
	// it has changed. The default is 10 seconds; a negative value means to ask
	// every time.
	MaxAge time.Duration

	now func() time.Time // for tests
}

const (
	defaultMaxAge = 10 * time.Second
	// maxAsked limits the bytes of cached names, which are all sent in one
	// request's query.
	maxAsked = 4096
)

// SecretService returns a secret service for the organization with the given
// ID.
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
// ErrNotFound. A value may be out of date by up to MaxAge.
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
	// The previous holder of the turn may have loaded the same name.
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

// cached returns the cached value of a name, and whether it is fresh enough.
func (s *SecretService) cached(k string) (value string, ok, fresh bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.asked[k] || s.now().Sub(s.checked) >= s.maxAge {
		return "", false, false
	}
	value, ok = s.known.Secrets[k]
	return value, ok, true
}

// refresh asks the server for k and for all cached names.
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

// query returns a query for the cached names and, unless it is empty, for k.
// It also returns the cached values, which the query's ETag belongs to.
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
		names = nil // start over: some names may no longer be needed
	}
	return ValuesQuery{Names: append(names, k)}, Values{}
}

// keep stores an answer, unless the cache has a newer one. start is when the
// answer was requested: later changes may not be in it.
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

// Watch keeps the cache up to date while it runs, and calls changed whenever a
// loaded secret has changed. It returns under the same conditions as
// Client.Watch.
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

// wait asks the server to answer when a loaded secret has changed.
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
		return nil // a name was loaded during the wait and is not in this answer
	}
	s.keep(s.now(), q, v, changed) // at the end of the wait the server has checked again
	return nil
}
