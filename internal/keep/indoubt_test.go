package keep_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/store/storetest"
)

// newFaulty is a kit with caches, whose store fails when the context says so.
func newFaulty(t *testing.T) *keeptest.Kit {
	return keeptest.New(t, &keeptest.Options{Wrap: func(s store.Store) store.Store {
		return storetest.Faulty(s, nil)
	}})
}

// TestDeactivationInDoubt deactivates a token with a change that is reported as failed.
// If the change was committed, the token is refused and the audit log has the change.
func TestDeactivationInDoubt(t *testing.T) {
	off := false
	for _, tt := range []struct {
		name    string
		fault   storetest.Fault
		made    bool
		outcome string
	}{
		{"not applied", storetest.NotApplied, false, "failed"},
		{"applied", storetest.Applied, true, "failed allowed"},
		{"late", storetest.Late, true, "failed allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newFaulty(t)
			op := k.Operator(t, keep.InfluxDB)
			token := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
			letIn := func() bool {
				c := k.MustCaller(t, keep.Vault, token.Value)
				return c.Permissions() != nil
			}
			if !letIn() {
				t.Fatal("the token does not work")
			}
			ctx := storetest.WithFault(t.Context(), tt.fault)
			if _, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &off}); !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("error %v", err)
			}
			_ = letIn() // must not be cached
			// The store recovers before it accepts a change again.
			again := storetest.WithFault(t.Context(), storetest.NotApplied)
			if _, err := k.Change(again, op, k.Org, set("any", "change")); !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("error %v", err)
			}
			for range 2 {
				if letIn() == tt.made {
					t.Errorf("accepted: %t; the change was committed: %t", tt.made, tt.made)
				}
				k.MustChange(t, set("any", "change"))
			}
			k.CheckAudit(t)
			if got := strings.Join(outcomes(t, k, "tokens.update"), " "); got != tt.outcome {
				t.Errorf("the audit log has %q, want %q", got, tt.outcome)
			}
		})
	}
}

// TestHeldChange makes a change late, after it was reported as failed, on the state that
// is still the newest. The audit log has it if it was made.
func TestHeldChange(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Wrap: func(s store.Store) store.Store {
		return sharedStore{storetest.Faulty(s, nil)}
	}})
	op := k.Operator(t, keep.InfluxDB)
	if _, err := k.Change(storetest.WithFault(t.Context(), storetest.Held), op, k.Org, set("a", "1")); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("error %v", err)
	}
	for range 2 {
		if err := k.FlushOutbox(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	made := len(k.MustValues(t)) > 0
	k.CheckAudit(t)
	if logged := strings.Join(outcomes(t, k, "secrets.write"), " "); logged != map[bool]string{false: "failed", true: "failed allowed"}[made] {
		t.Errorf("made: %t; the audit log has %q", made, logged)
	}
}

// TestInDoubtWakesWaiters checks that a waiting caller notices a change that was
// committed although it was reported as failed.
func TestInDoubtWakesWaiters(t *testing.T) {
	k := newFaulty(t)
	op := k.Operator(t, keep.InfluxDB)
	d, err := k.Values(t.Context(), op, k.Org, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Change(storetest.WithFault(t.Context(), storetest.Late), op, k.Org, set("a", "1")); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("error %v", err)
	}
	// A background task resolves changes in doubt.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := k.Wait(ctx, op, k.Org, d.Tag); err != nil || ctx.Err() != nil {
		t.Fatalf("the waiting caller wasn't woken: %v", err)
	}
	if got := k.MustValues(t); !maps.Equal(got, map[string]string{"a": "1"}) {
		t.Errorf("the secrets are %v", got)
	}
}

// queueing is a store that calls the context's function before a change.
type queueing struct{ store.Store }

type queuedKey struct{}

func (q queueing) Update(ctx context.Context, fn func(store.Tx) error) error {
	if queued, ok := ctx.Value(queuedKey{}).(func()); ok {
		queued()
	}
	return q.Store.Update(ctx, fn)
}

// TestWriteThatWaited checks that a write doesn't see secrets that were deleted
// while it waited for the store.
func TestWriteThatWaited(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Wrap: func(s store.Store) store.Store { return queueing{s} }})
	op := k.Operator(t, keep.Vault)
	k.MustChange(t, set("deleted", "1"))
	waited := false
	ctx := context.WithValue(t.Context(), queuedKey{}, func() {
		waited = true
		if err := k.DeleteVersions(t.Context(), op, k.Org); err != nil {
			t.Error(err)
		}
	})
	if _, err := k.Change(ctx, op, k.Org, set("new", "2")); err != nil || !waited {
		t.Fatal(waited, err)
	}
	if got := k.MustValues(t); !maps.Equal(got, map[string]string{"new": "2"}) {
		t.Errorf("the secrets are %v", got)
	}
}

// slow is an exclusive store that calls the context's function once a change is visible
// but not yet acknowledged.
type slow struct{ store.Store }

type seenKey struct{}

func (s *slow) Update(ctx context.Context, fn func(store.Tx) error) error {
	err := s.Store.Update(ctx, fn)
	if seen, ok := ctx.Value(seenKey{}).(func()); ok && err == nil {
		seen()
	}
	return err
}

// TestSeenByOthersFirst checks that a token is refused as soon as anyone can see
// that it is inactive, even before the caller who deactivated it gets a response.
func TestSeenByOthersFirst(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Wrap: func(s store.Store) store.Store {
		return &slow{s}
	}})
	op := k.Operator(t, keep.InfluxDB)
	token := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	letIn := func() bool {
		c := k.MustCaller(t, keep.Vault, token.Value)
		return c.Permissions() != nil
	}
	if !letIn() {
		t.Fatal("the token does not work")
	}
	looked, off := false, false
	ctx := context.WithValue(t.Context(), seenKey{}, func() {
		looked = true
		if now, err := k.Token(t.Context(), op, token.ID); err != nil || now.Active {
			t.Errorf("the change can't be seen yet: %v", err)
		}
		if letIn() {
			t.Error("the token is accepted from a cache")
		}
	})
	if _, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &off}); err != nil || !looked {
		t.Fatalf("looked: %t, %v", looked, err)
	}
	if letIn() {
		t.Error("the token is accepted afterwards")
	}
}
