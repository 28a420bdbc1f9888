package keep_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// deletions counts what the transactions of a store delete.
type deletions struct {
	store.Store
	mu        sync.Mutex
	most, all int // in one transaction, and in all
}

type countingTx struct {
	store.Tx
	deleted *int
}

func (t *countingTx) Delete(key []byte) error {
	*t.deleted++
	return t.Tx.Delete(key)
}

func (d *deletions) Update(ctx context.Context, fn func(store.Tx) error) error {
	deleted := 0
	err := d.Store.Update(ctx, func(tx store.Tx) error { deleted = 0; return fn(&countingTx{tx, &deleted}) })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.most, d.all = max(d.most, deleted), d.all+deleted
	return err
}

// TestManyExpiredSessions removes more expired sessions than one transaction should.
func TestManyExpiredSessions(t *testing.T) {
	var d deletions
	k := keeptest.New(t, &keeptest.Options{Wrap: func(s store.Store) store.Store { d.Store = s; return &d }})
	const n = 1000
	for range n {
		if _, err := k.SignInToken(t.Context(), keep.Anonymous(keeptest.Origin(keep.Web)), k.OperatorToken); err != nil {
			t.Fatal(err)
		}
	}
	k.Clock.Advance(2 * time.Hour)
	if err := k.FlushOutbox(t.Context()); err != nil { // it deletes, too
		t.Fatal(err)
	}
	d.mu.Lock()
	d.most, d.all = 0, 0
	d.mu.Unlock()
	if err := k.RemoveExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all < 2*n || d.most > 2*256 {
		t.Errorf("%d records were deleted, up to %d in one transaction", d.all, d.most)
	}
}

// TestTokenSession: a session that was signed in with a token can do what the token
// can, as the token, and ends when the token does.
func TestTokenSession(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx, origin := t.Context(), keeptest.Origin(keep.Web)
	op := k.Operator(t, keep.InfluxDB)
	token := k.MustToken(t, keep.NewToken{
		Permissions: keeptest.WriteSecrets(k.Org), Names: []string{"b*"}, Expires: k.Clock.Now().Add(3 * time.Hour),
	})
	signIn := func(value string) string {
		t.Helper()
		s, err := k.SignInToken(ctx, keep.Anonymous(origin), value)
		if err != nil {
			t.Fatal(err)
		}
		return s.Key
	}
	works := func(what, key string, want error) keep.Caller {
		t.Helper()
		c, err := k.AuthenticateSession(ctx, origin, key)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		return c
	}
	s := signIn(token.Value)
	c := works("new session", s, nil)
	if c.Token != token.ID || !c.Limited() || !c.Expires().Equal(token.Expires) {
		t.Errorf("the session is token %v, limited %v, until %v", c.Token, c.Limited(), c.Expires())
	}
	if _, err := k.Change(ctx, c, k.Org, set("a", "1")); keep.CodeOf(err) != keep.CodeForbidden {
		t.Errorf("a name outside the token's patterns: %v", err)
	}
	if _, err := k.Change(ctx, c, k.Org, set("b1", "1")); err != nil {
		t.Error(err)
	}
	history, err := k.History(ctx, op, k.Org)
	if err != nil || history[0].Token != token.ID || history[0].Protocol != keep.Web {
		t.Errorf("the change was made by %+v, %v", history[0], err)
	}
	if err := k.SetPassword(ctx, op, k.Admin, "battery staple 2"); err != nil {
		t.Fatal(err)
	}
	works("after its user got a new password", s, nil)

	active := func(on bool) {
		t.Helper()
		if _, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &on}); err != nil {
			t.Fatal(err)
		}
	}
	active(false)
	if c := works("inactive token", s, nil); c.Active() || len(c.Permissions()) > 0 {
		t.Error("a session of an inactive token has permissions")
	}
	if _, err := k.SignInToken(ctx, keep.Anonymous(origin), token.Value); !errors.Is(err, keep.ErrUnauthenticated) {
		t.Errorf("signing in with an inactive token: %v", err)
	}
	active(true)

	if err := k.SignOut(ctx, keep.Anonymous(origin), s); err != nil {
		t.Fatal(err)
	}
	works("signed out", s, keep.ErrUnauthenticated)

	s = signIn(token.Value)
	if err := k.DeleteToken(ctx, op, token.ID); err != nil {
		t.Fatal(err)
	}
	works("deleted token", s, keep.ErrUnauthenticated)

	expiring := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Expires: k.Clock.Now().Add(time.Minute)})
	s = signIn(expiring.Value)
	k.Clock.Advance(2 * time.Minute)
	works("expired token", s, keep.ErrUnauthenticated)

	if want := []string{"allowed", "refused", "allowed", "allowed"}; !slices.Equal(outcomes(t, k, "sessions.create"), want) {
		t.Errorf("the audit log has %v, want %v", outcomes(t, k, "sessions.create"), want)
	}
}

// TestTokenSessionsAreLimited: failed attempts to sign in with a token are limited,
// and a correct one is never refused because of them.
func TestTokenSessionsAreLimited(t *testing.T) {
	k := keeptest.New(t, nil)
	stranger := keep.Anonymous(keeptest.Origin(keep.Web))
	limited := false
	for range 50 {
		_, err := k.SignInToken(t.Context(), stranger, "guess")
		if keep.CodeOf(err) == keep.CodeTooMany {
			limited = true
		} else if !errors.Is(err, keep.ErrUnauthenticated) {
			t.Fatal(err)
		}
	}
	if !limited {
		t.Error("50 guesses were allowed")
	}
	if _, err := k.SignInToken(t.Context(), stranger, k.OperatorToken); err != nil {
		t.Errorf("the right token: %v", err)
	}
}
