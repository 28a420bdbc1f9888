package keep_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// TestChildrenAreLimited: at most so many login tokens that depend on one token are
// valid at a time, however they are nested.
func TestChildrenAreLimited(t *testing.T) {
	k := keeptest.New(t, nil)
	k.LimitLogins(3, 5)
	ctx := t.Context()
	token := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	c := k.MustCaller(t, keep.Vault, token.Value)
	create := func(c keep.Caller, length time.Duration) (keep.Login, error) {
		return k.CreateChild(ctx, c, keep.Child{Length: length})
	}
	full := func(c keep.Caller) {
		t.Helper()
		if _, err := create(c, time.Hour); err == nil || !strings.HasPrefix(err.Error(), "3 child tokens of this token are valid") {
			t.Errorf("one too many: %v", err)
		}
	}
	first, err := create(c, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	nested := k.MustCaller(t, keep.Vault, first.Value)
	for range 2 {
		if _, err := create(nested, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	full(c)
	full(nested)
	sweep := func() {
		t.Helper()
		if err := k.RemoveExpired(ctx); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	full(nested)

	other := k.MustCaller(t, keep.Vault, k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)}).Value)
	if _, err := create(other, time.Hour); err != nil {
		t.Errorf("another token's child: %v", err)
	}

	k.Clock.Advance(2 * time.Minute)
	sweep()
	if _, err := create(c, time.Hour); err != nil {
		t.Errorf("after two have expired: %v", err)
	}

	logIn := func() error {
		_, err := k.Login(ctx, keep.Anonymous(keeptest.Origin(keep.Vault)), token.ID.String(), token.Value)
		return err
	}
	for range 3 { // with the two children
		if err := logIn(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := logIn(); keep.CodeOf(err) != keep.CodeInvalid || !strings.HasPrefix(err.Error(), "5 child tokens of this token are valid") {
			t.Errorf("one login too many: %v", err)
		}
		sweep()
	}
}

// TestChildrenOfRevoked: whoever revokes the tokens in between doesn't leave tokens that
// count for nobody.
func TestChildrenOfRevoked(t *testing.T) {
	k := keeptest.New(t, nil)
	k.LimitLogins(4, 4)
	ctx := t.Context()
	c := k.MustCaller(t, keep.Vault, k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)}).Value)
	const tokens = 't'
	before := records(t, k, tokens)
	for range 5 {
		child, err := k.CreateChild(ctx, c, keep.Child{Length: keep.MaxChildLength})
		if err != nil {
			t.Fatal(err)
		}
		between := k.MustCaller(t, keep.Vault, child.Value)
		for range 3 {
			if _, err := k.CreateChild(ctx, between, keep.Child{Length: keep.MaxChildLength}); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.RevokeSelf(ctx, between); err != nil {
			t.Fatal(err)
		}
		if err := k.RemoveExpired(ctx); err != nil {
			t.Fatal(err)
		}
		if got := records(t, k, tokens); got != before {
			t.Fatalf("%d tokens are stored, want %d", got, before)
		}
	}
}

// unscannable is a store of which a part can't be read for a while.
type unscannable struct {
	store.Store
	broken atomic.Bool
}

type unscannableReader struct{ store.Reader }

func (unscannableReader) Scan([]byte, []byte, func(key, value []byte) (bool, error)) error {
	return &store.CorruptError{What: "a block", Err: errors.New("wrong checksum")}
}

func (u *unscannable) View(ctx context.Context, fn func(store.Reader) error) error {
	return u.Store.View(ctx, func(r store.Reader) error {
		if u.broken.Load() {
			r = unscannableReader{r}
		}
		return fn(r)
	})
}

// unremovable is a store with a session that can't be removed: the first one that anybody
// tries to remove once it is broken.
type unremovable struct {
	store.Store
	broken atomic.Bool
	key    string
}

const sessionsOf = 'E' // the table

type unremovableTx struct {
	store.Tx
	u *unremovable
}

func (t unremovableTx) Get(key []byte) ([]byte, error) {
	if t.u.key == "" && key[0] == sessionsOf && t.u.broken.Load() {
		t.u.key = string(key)
	}
	if string(key) == t.u.key {
		return nil, &store.CorruptError{What: "a block", Err: errors.New("wrong checksum")}
	}
	return t.Tx.Get(key)
}

func (u *unremovable) Update(ctx context.Context, fn func(store.Tx) error) error {
	return u.Store.Update(ctx, func(tx store.Tx) error { return fn(unremovableTx{tx, u}) })
}

// TestExpiredThatCantBeRemoved: what has expired and can't be removed doesn't keep the rest.
func TestExpiredThatCantBeRemoved(t *testing.T) {
	u := &unremovable{}
	k := keeptest.New(t, &keeptest.Options{Wrap: func(s store.Store) store.Store { u.Store = s; return u }})
	token := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	const tokens = 't'
	before := records(t, k, tokens)
	for range 3 {
		if _, err := k.SignIn(t.Context(), keep.Anonymous(keeptest.Origin(keep.InfluxDB)), "admin", k.Password); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Login(t.Context(), keep.Anonymous(keeptest.Origin(keep.Vault)), token.ID.String(), token.Value); err != nil {
			t.Fatal(err)
		}
	}
	k.Clock.Advance(2 * time.Hour)
	u.broken.Store(true)
	if err := k.RemoveExpired(t.Context()); !errors.As(err, new(*store.CorruptError)) {
		t.Errorf("a session that can't be removed: %v", err)
	}
	if sessions, logins := records(t, k, sessionsOf), records(t, k, tokens)-before; sessions != 1 || logins != 0 {
		t.Errorf("%d sessions and %d login tokens are left, want the session that can't be removed", sessions, logins)
	}
}

// TestLoginsInDamagedStore: login tokens that can't be counted don't add up until nobody
// can log in any more.
func TestLoginsInDamagedStore(t *testing.T) {
	u := &unscannable{}
	k := keeptest.New(t, &keeptest.Options{Wrap: func(s store.Store) store.Store { u.Store = s; return u }})
	k.LimitLogins(1, 1)
	token := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	u.broken.Store(true)
	defer u.broken.Store(false)
	for range 3 {
		if _, err := k.Login(t.Context(), keep.Anonymous(keeptest.Origin(keep.Vault)), token.ID.String(), token.Value); err != nil {
			t.Error(err)
		}
		k.Clock.Advance(2 * time.Hour)
		if err := k.RemoveExpired(t.Context()); !errors.As(err, new(*store.CorruptError)) {
			t.Errorf("a sweep of a damaged store: %v", err)
		}
	}
}
