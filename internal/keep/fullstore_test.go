package keep_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// TestFullStore checks which actions an almost full store takes: those that only remove,
// and in the end those with which operators take rights away, and their sign-in.
func TestFullStore(t *testing.T) {
	var left atomic.Int64
	k := keeptest.New(t, &keeptest.Options{Wrap: func(s store.Store) store.Store { return &keeptest.FullStore{Store: s, Left: &left} }})
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
	replaced, err := k.SignInToken(ctx, origin, ownToken.Value)
	must(err)
	name, yes, no := "new", true, false

	for _, tt := range []struct {
		what  string
		needs store.Reserve
		do    func() error
	}{
		{"read secrets", store.LastReserve, func() error { _, err := k.Values(ctx, op, k.Org, nil, ""); return err }},
		{"set a secret", store.NoReserve, func() error { _, err := k.Change(ctx, op, k.Org, set("a", "3")); return err }},
		{"set one and delete one", store.NoReserve, func() error {
			ch := set("d", "1")
			ch.Remove = []string{"b"}
			_, err := k.Change(ctx, op, k.Org, ch)
			return err
		}},
		{"delete a secret", store.RemovalReserve, func() error { _, err := k.Change(ctx, op, k.Org, keep.Change{Remove: []string{"b"}}); return err }},
		{"roll back", store.NoReserve, func() error { _, err := k.Rollback(ctx, op, k.Org, 1); return err }},
		{"delete versions", store.RemovalReserve, func() error { return k.DeleteVersions(ctx, op, k.Org, 2) }},
		{"undelete versions", store.NoReserve, func() error { return k.UndeleteVersions(ctx, op, k.Org, 2) }},
		{"destroy versions", store.RemovalReserve, func() error { return k.DestroyVersions(ctx, op, k.Org, 2) }},
		{"delete all secrets", store.RemovalReserve, func() error { return k.DeleteAll(ctx, op, k.Org) }},
		{"sign in", store.NoReserve, func() error { _, err := k.SignIn(ctx, origin, "ann", "battery staple 1"); return err }},
		{"sign in with a token", store.NoReserve, func() error { _, err := k.SignInToken(ctx, origin, ownToken.Value); return err }},
		{"sign in as an operator", store.LastReserve, func() error { _, err := k.SignIn(ctx, origin, "admin", k.Password); return err }},
		{"sign in with an operator token", store.LastReserve, func() error { _, err := k.SignInToken(ctx, origin, k.OperatorToken); return err }},
		{"sign out", store.LastReserve, func() error { return k.SignOut(ctx, op, session.Key) }},
		{"sign in instead of another", store.LastReserve, func() error { return k.ReplaceSession(ctx, own, replaced.Key, op) }},
		{"create a user", store.NoReserve, func() error { _, err := k.CreateUser(ctx, op, "bob", true); return err }},
		{"set a password", store.NoReserve, func() error { return k.SetPassword(ctx, op, user, "battery staple 2") }},
		{"rename a user", store.NoReserve, func() error { _, err := k.UpdateUser(ctx, op, user, keep.UserUpdate{Name: &name}); return err }},
		{"deactivate a user", store.LastReserve, func() error { _, err := k.UpdateUser(ctx, op, user, keep.UserUpdate{Active: &no}); return err }},
		{"activate a user", store.NoReserve, func() error { _, err := k.UpdateUser(ctx, op, user, keep.UserUpdate{Active: &yes}); return err }},
		{"add a member", store.NoReserve, func() error { _, err := k.AddMember(ctx, op, org.ID, user, keep.Member); return err }},
		{"deactivate a user and rename it", store.NoReserve, func() error {
			_, err := k.UpdateUser(ctx, op, user, keep.UserUpdate{Active: &no, Name: &name})
			return err
		}},
		{"remove a member", store.LastReserve, func() error { return k.RemoveMember(ctx, op, k.Org, user) }},
		{"delete a user", store.LastReserve, func() error { return k.DeleteUser(ctx, op, user) }},
		{"create a token", store.NoReserve, func() error {
			_, err := k.CreateToken(ctx, op, keep.NewToken{Org: k.Org, Permissions: keeptest.ReadSecrets(k.Org)})
			return err
		}},
		{"describe a token", store.NoReserve, func() error {
			_, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Description: &name})
			return err
		}},
		{"deactivate a token", store.LastReserve, func() error { _, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &no}); return err }},
		{"activate a token", store.NoReserve, func() error { _, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &yes}); return err }},
		{"deactivate a token and describe it", store.NoReserve, func() error {
			_, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &no, Description: &name})
			return err
		}},
		{"delete a token", store.LastReserve, func() error { return k.DeleteToken(ctx, op, token.ID) }},
		{"revoke the own token", store.RemovalReserve, func() error { return k.RevokeSelf(ctx, own) }},
		{"rename an organization", store.NoReserve, func() error {
			_, err := k.UpdateOrganization(ctx, op, org.ID, keep.OrganizationUpdate{Name: &name})
			return err
		}},
		{"delete an organization", store.RemovalReserve, func() error { return k.DeleteOrganization(ctx, op, org.ID) }},
		{"use a session that is about to expire", store.LastReserve, func() error {
			k.Clock.Advance(58 * time.Minute)
			_, err := k.AuthenticateSession(ctx, keeptest.Origin(keep.InfluxDB), expiring.Key)
			return err
		}},
	} {
		refused := func(reserve store.Reserve) {
			t.Helper()
			left.Store(int64(reserve))
			if err := tt.do(); keep.CodeOf(err) != keep.CodeUnavailable || !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "quota") {
				t.Errorf("%s, with reserve %d left: %v", tt.what, reserve, err)
			}
		}
		switch tt.needs {
		case store.NoReserve:
			refused(store.RemovalReserve)
			refused(store.LastReserve)
			continue
		case store.RemovalReserve:
			refused(store.LastReserve)
		}
		left.Store(int64(tt.needs))
		if err := tt.do(); err != nil {
			t.Errorf("%s, with reserve %d left: %v", tt.what, tt.needs, err)
		}
	}

	left.Store(int64(store.NoReserve))
	k.MustChange(t, set("a", "3"))
}
