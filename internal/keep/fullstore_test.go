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

// fullStore is a store that has only its reserve left once it is full.
type fullStore struct {
	store.Store
	full atomic.Bool
}

func (s *fullStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		err := fn(tx)
		if err == nil && s.full.Load() && !store.MayUseReserve(ctx) {
			err = store.ErrFull
		}
		return err
	})
}

// TestFullStore checks which actions an almost full store takes: those that only remove.
func TestFullStore(t *testing.T) {
	s := &fullStore{}
	k := keeptest.New(t, &keeptest.Options{Wrap: func(inner store.Store) store.Store { s.Store = inner; return s }})
	ctx, op := t.Context(), k.Operator(t, keep.InfluxDB)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	k.MustChange(t, set("a", "1", "b", "2", "c", "3"))
	k.MustChange(t, set("a", "2"))
	org, err := k.CreateOrganization(ctx, op, "other", "")
	must(err)
	user := mustUser(t, k, "ann", "battery staple 1")
	_, err = k.AddMember(ctx, op, k.Org, user, keep.Member)
	must(err)
	newToken := func() keep.Token {
		return k.MustToken(t, keep.NewToken{Org: k.Org, Permissions: keeptest.ReadSecrets(k.Org)})
	}
	token, ownToken := newToken(), newToken()
	own := k.MustCaller(t, keep.Vault, ownToken.Value)
	origin := keep.Anonymous(keeptest.Origin(keep.InfluxDB))
	session, err := k.SignIn(ctx, origin, "admin", k.Password)
	must(err)
	expiring, err := k.SignIn(ctx, origin, "admin", k.Password)
	must(err)
	name, yes, no := "new", true, false

	s.full.Store(true)
	for _, tt := range []struct {
		what  string
		taken bool
		do    func() error
	}{
		{"read secrets", true, func() error { _, err := k.Values(ctx, op, k.Org, nil, ""); return err }},
		{"set a secret", false, func() error { _, err := k.Change(ctx, op, k.Org, set("a", "3")); return err }},
		{"set one and delete one", false, func() error {
			ch := set("d", "1")
			ch.Remove = []string{"b"}
			_, err := k.Change(ctx, op, k.Org, ch)
			return err
		}},
		{"delete a secret", true, func() error { _, err := k.Change(ctx, op, k.Org, keep.Change{Remove: []string{"b"}}); return err }},
		{"roll back", false, func() error { _, err := k.Rollback(ctx, op, k.Org, 1); return err }},
		{"delete versions", true, func() error { return k.DeleteVersions(ctx, op, k.Org, 2) }},
		{"undelete versions", false, func() error { return k.UndeleteVersions(ctx, op, k.Org, 2) }},
		{"destroy versions", true, func() error { return k.DestroyVersions(ctx, op, k.Org, 2) }},
		{"delete all secrets", true, func() error { return k.DeleteAll(ctx, op, k.Org) }},
		{"sign in", false, func() error { _, err := k.SignIn(ctx, origin, "admin", k.Password); return err }},
		{"sign out", true, func() error { return k.SignOut(ctx, op, session.Key) }},
		{"create a user", false, func() error { _, err := k.CreateUser(ctx, op, "bob", true); return err }},
		{"set a password", false, func() error { return k.SetPassword(ctx, op, user, "battery staple 2") }},
		{"rename a user", false, func() error { _, err := k.UpdateUser(ctx, op, user, keep.UserUpdate{Name: &name}); return err }},
		{"deactivate a user", true, func() error { _, err := k.UpdateUser(ctx, op, user, keep.UserUpdate{Active: &no}); return err }},
		{"activate a user", false, func() error { _, err := k.UpdateUser(ctx, op, user, keep.UserUpdate{Active: &yes}); return err }},
		{"add a member", false, func() error { _, err := k.AddMember(ctx, op, org.ID, user, keep.Member); return err }},
		{"deactivate a user and rename it", false, func() error {
			_, err := k.UpdateUser(ctx, op, user, keep.UserUpdate{Active: &no, Name: &name})
			return err
		}},
		{"remove a member", true, func() error { return k.RemoveMember(ctx, op, k.Org, user) }},
		{"delete a user", true, func() error { return k.DeleteUser(ctx, op, user) }},
		{"create a token", false, func() error {
			_, err := k.CreateToken(ctx, op, keep.NewToken{Org: k.Org, Permissions: keeptest.ReadSecrets(k.Org)})
			return err
		}},
		{"describe a token", false, func() error {
			_, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Description: &name})
			return err
		}},
		{"deactivate a token", true, func() error { _, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &no}); return err }},
		{"activate a token", false, func() error { _, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &yes}); return err }},
		{"deactivate a token and describe it", false, func() error {
			_, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &no, Description: &name})
			return err
		}},
		{"delete a token", true, func() error { return k.DeleteToken(ctx, op, token.ID) }},
		{"revoke the own token", true, func() error { return k.RevokeSelf(ctx, own) }},
		{"rename an organization", false, func() error {
			_, err := k.UpdateOrganization(ctx, op, org.ID, keep.OrganizationUpdate{Name: &name})
			return err
		}},
		{"delete an organization", true, func() error { return k.DeleteOrganization(ctx, op, org.ID) }},
		{"use a session that is about to expire", true, func() error {
			k.Clock.Advance(58 * time.Minute)
			_, err := k.AuthenticateSession(ctx, keeptest.Origin(keep.InfluxDB), expiring.Key)
			return err
		}},
	} {
		err := tt.do()
		switch {
		case tt.taken && err != nil:
			t.Errorf("%s: %v", tt.what, err)
		case !tt.taken && (keep.CodeOf(err) != keep.CodeUnavailable || !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "quota")):
			t.Errorf("%s: %v", tt.what, err)
		}
	}

	s.full.Store(false)
	k.MustChange(t, set("a", "3"))
}
