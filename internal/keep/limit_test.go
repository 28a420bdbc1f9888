package keep_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// words returns all texts of up to n of the letters.
func words(letters string, n int) []string {
	all := []string{""}
	for start := 0; n > 0; n-- {
		end := len(all)
		for _, w := range all[start:end] {
			for _, l := range letters {
				all = append(all, w+string(l))
			}
		}
		start = end
	}
	return all
}

// TestNarrowerPatterns: a token may make one for a pattern exactly if each name
// that fits it fits the token's own.
func TestNarrowerPatterns(t *testing.T) {
	patterns, names := words("ab*", 4), words("abc", 6)
	fits := map[string][]bool{}
	for _, p := range patterns {
		row := make([]bool, len(names))
		for i, n := range names {
			row[i] = keep.MatchName(p, n)
		}
		fits[p] = row
	}
	for _, own := range patterns[1:] {
		for _, p := range patterns[1:] {
			want := true
			for i, fit := range fits[p] {
				want = want && (!fit || fits[own][i])
			}
			if got := keep.ContainsNames([]string{own}, []string{p}); got != want {
				t.Fatalf("a token for %q makes one for %q: %v, want %v", own, p, got, want)
			}
		}
	}
	for _, c := range []struct {
		own, patterns []string
		want          bool
	}{
		{nil, nil, true},
		{nil, []string{"a"}, true},
		{[]string{"a"}, nil, false},
		{[]string{"db_*"}, []string{"db_p*"}, true},
		{[]string{"a*", "b*"}, []string{"bc", "a*c"}, true},
		{[]string{"a*", "b*"}, []string{"bc", "c"}, false},
	} {
		if got := keep.ContainsNames(c.own, c.patterns); got != c.want {
			t.Errorf("a token for %q makes one for %q: %v", c.own, c.patterns, got)
		}
	}
}

// TestLimitedTokenChangesNoRights: a token limited to some names or some time,
// with an operator's permissions, does nothing that has no such limit.
func TestLimitedTokenChangesNoRights(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx, op := t.Context(), k.Operator(t, keep.InfluxDB)
	k.MustChange(t, set("a1", "1", "b1", "2"))
	ann := mustUser(t, k, "ann", "battery staple 1")
	soon := k.Clock.Now().Add(time.Hour)
	wide := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	name, on := "x", true
	for what, limit := range map[string]keep.NewToken{
		"names": {Names: []string{"a*"}},
		"time":  {Expires: soon},
		"both":  {Names: []string{"a*"}, Expires: soon},
	} {
		t.Run(what, func(t *testing.T) {
			limit.Permissions = acl.Operator()
			c := k.MustCaller(t, keep.InfluxDB, k.MustToken(t, limit).Value)
			before := k.Contents(t)
			for what, try := range map[string]func() error{
				"create user":         func() error { _, err := k.CreateUser(ctx, c, name, true); return err },
				"update user":         func() error { _, err := k.UpdateUser(ctx, c, ann, keep.UserUpdate{Active: &on}); return err },
				"delete user":         func() error { return k.DeleteUser(ctx, c, ann) },
				"set password":        func() error { return k.SetPassword(ctx, c, k.Admin, "battery staple 2") },
				"change password":     func() error { return k.ChangePassword(ctx, c, k.Admin, k.Password, "battery staple 2") },
				"create organization": func() error { _, err := k.CreateOrganization(ctx, c, name, ""); return err },
				"update organization": func() error {
					_, err := k.UpdateOrganization(ctx, c, k.Org, keep.OrganizationUpdate{Name: &name})
					return err
				},
				"delete organization": func() error { return k.DeleteOrganization(ctx, c, k.Org) },
				"add member":          func() error { _, err := k.AddMember(ctx, c, k.Org, ann, keep.Owner); return err },
				"remove member":       func() error { return k.RemoveMember(ctx, c, k.Org, ann) },
				"create token": func() error {
					_, err := k.CreateToken(ctx, c, keep.NewToken{Org: k.Org, Active: true, Permissions: keeptest.ReadSecrets(k.Org)})
					return err
				},
			} {
				if err := try(); keep.CodeOf(err) != keep.CodeForbidden {
					t.Errorf("%s: %v", what, err)
				}
			}
			if _, err := k.UpdateToken(ctx, c, wide.ID, keep.TokenUpdate{Active: &on}); err == nil {
				t.Error("it changes a token that is wider")
			}
			if err := k.DeleteToken(ctx, c, wide.ID); err == nil {
				t.Error("it deletes a token that is wider")
			}
			if !maps.Equal(before, k.Contents(t)) {
				t.Error("the store has changed")
			}

			narrow := limit
			narrow.Org, narrow.Active, narrow.Names, narrow.Expires = k.Org, true, []string{"a1*"}, soon.Add(-time.Minute)
			made, err := k.CreateToken(ctx, c, narrow)
			if err != nil {
				t.Fatalf("a narrower token: %v", err)
			}
			if err := k.DeleteToken(ctx, c, made.ID); err != nil {
				t.Errorf("delete it: %v", err)
			}
		})
	}
	if err := k.SetPassword(ctx, op, ann, "battery staple 3"); err != nil {
		t.Errorf("who is not limited: %v", err)
	}
}

// TestLimitedTokenSeesNoWiderTokens: patterns of other tokens are names, too.
func TestLimitedTokenSeesNoWiderTokens(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	own := k.MustToken(t, keep.NewToken{Permissions: acl.Operator(), Names: []string{"a*"}})
	narrow := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Names: []string{"ab"}})
	hidden := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Names: []string{"b"}})
	c := k.MustCaller(t, keep.InfluxDB, own.Value)
	list, err := k.Tokens(ctx, c, keep.TokenFilter{})
	if err != nil || len(list) != 2 || list[0].ID != own.ID || list[1].ID != narrow.ID {
		t.Errorf("it lists %+v, %v", list, err)
	}
	const absent keep.ID = 0xdeadbeef
	for _, id := range []keep.ID{hidden.ID, absent} {
		if _, err := k.Token(ctx, c, id); !errors.Is(err, keep.ErrTokenNotFound) {
			t.Errorf("by ID: %v", err)
		}
		if _, err := k.Tokens(ctx, c, keep.TokenFilter{ID: id}); !errors.Is(err, keep.ErrTokenNotFound) {
			t.Errorf("listed by ID: %v", err)
		}
		if err := k.DeleteToken(ctx, c, id); !errors.Is(err, keep.ErrTokenNotFound) {
			t.Errorf("deleted: %v", err)
		}
	}
}
