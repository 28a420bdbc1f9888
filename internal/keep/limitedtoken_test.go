package keep_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/race"
)

// words returns all texts of up to n letters.
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

// TestNarrowerPatterns checks that a token may create one for a pattern exactly if each
// name that matches it matches the token's own patterns.
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
				t.Fatalf("a token for %q creates one for %q: %v, want %v", own, p, got, want)
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
			t.Errorf("a token for %q creates one for %q: %v", c.own, c.patterns, got)
		}
	}
}

// TestLimitedTokenChangesNoRights checks that a token with an operator's permissions,
// limited in names or time, can't do anything without these limits.
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
				t.Error("it changes a token with wider limits")
			}
			if err := k.DeleteToken(ctx, c, wide.ID); err == nil {
				t.Error("it deletes a token with wider limits")
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
		t.Errorf("an unlimited caller: %v", err)
	}
}

// TestLimitedTokenSeesNoWiderTokens checks that a token sees no other tokens' patterns,
// which are names too.
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

// observed is everything that a caller can read about an organization's secrets.
func observed(t *testing.T, k *keeptest.Kit, c keep.Caller) string {
	t.Helper()
	ctx := t.Context()
	var all []any
	add := func(v any, err error) { all = append(all, v, err) }
	add(k.SecretNames(ctx, c, k.Org))
	add(k.SecretOrganizations(ctx, c))
	add(k.Values(ctx, c, k.Org, nil, ""))
	add(k.Values(ctx, c, k.Org, []string{"a1", "b1"}, ""))
	add(k.Document(ctx, c, k.Org, 0))
	add(k.History(ctx, c, k.Org))
	add(k.Metadata(ctx, c, k.Org))
	for version := range uint64(40) {
		add(k.Document(ctx, c, k.Org, version))
		add(k.ValuesAt(ctx, c, k.Org, []string{"a0", "a1", "b1"}, version+1))
	}
	for _, name := range []string{"a0", "a1", "a2", "b1"} {
		add(k.SecretHistory(ctx, c, k.Org, name))
	}
	list, total, err := k.SecretChanges(ctx, c, k.Org, keep.SecretFilter{ByChange: true})
	add(list, err)
	add(total, nil)
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestLimitedTokenLearnsNothing checks that changes of names outside a token's limits
// don't change what it reads, and don't conflict with its writes.
func TestLimitedTokenLearnsNothing(t *testing.T) {
	race.SkipSequential(t)
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		k := keeptest.New(t, nil)
		ctx, op := t.Context(), k.Operator(t, keep.Vault)
		many := 1000 // pruned versions would reveal changes
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		c := k.MustCaller(t, keep.Vault, k.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(k.Org), Names: []string{"a*"}}).Value)
		value := func() string { return strconv.Itoa(rng.IntN(1000)) }
		must(k.UpdateSettings(ctx, op, k.Org, keep.SettingsUpdate{MaxVersions: &many}))
		before := observed(t, k, c)
		for range 12 {
			switch rng.IntN(4) {
			case 0: // another caller changes a visible name
				ch := set("a"+strconv.Itoa(rng.IntN(3)), value(), "b1", value())
				if rng.IntN(3) == 0 {
					ch = keep.Change{Remove: []string{"a1", "b1"}}
				}
				_, err := k.Change(ctx, op, k.Org, ch)
				must(err)
				before = observed(t, k, c)
			default:
				ch := set("b"+strconv.Itoa(rng.IntN(3)), value())
				if rng.IntN(4) == 0 {
					ch = keep.Change{Remove: []string{"b1"}}
				}
				_, err := k.Change(ctx, op, k.Org, ch)
				must(err)
			}
			if after := observed(t, k, c); after != before {
				t.Fatalf("seed %d: it read\n%s\nand then\n%s", seed, before, after)
			}
			if strings.Contains(before, `"b0"`) || strings.Contains(before, `"b1"`) {
				t.Fatalf("seed %d: it reads %s", seed, before)
			}
			if rng.IntN(2) == 0 {
				continue
			}
			// It writes back what it read, with check-and-set.
			ch := set("a"+strconv.Itoa(rng.IntN(3)), value())
			d, err := k.Values(ctx, c, k.Org, nil, "")
			must(err)
			m, err := k.Metadata(ctx, c, k.Org)
			if err != nil && !errors.Is(err, keep.ErrVersionNotFound) {
				t.Fatal(err)
			}
			switch rng.IntN(3) {
			case 0:
				ch.Tag = d.Tag
			case 1:
				ch.CAS = &m.Current
			case 2:
				ch.CAS, ch.Replace, ch.Merge = &m.Current, true, true
			}
			_, err = k.Change(ctx, op, k.Org, set("b1", value()))
			must(err)
			_, err = k.Change(ctx, c, k.Org, ch)
			must(err)
			before = observed(t, k, c)
		}
		k.Close(t)
	}
}

// TestLimitedTokenConflicts checks that changes of visible names do conflict.
func TestLimitedTokenConflicts(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx, op := t.Context(), k.Operator(t, keep.Vault)
	k.MustChange(t, set("a1", "1", "b1", "1"))
	c := k.MustCaller(t, keep.Vault, k.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(k.Org), Names: []string{"a*"}}).Value)
	d, err := k.Document(ctx, c, k.Org, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Change(ctx, op, k.Org, set("a1", "2")); err != nil {
		t.Fatal(err)
	}
	for what, ch := range map[string]keep.Change{"tag": {Tag: d.Tag}, "check-and-set": {CAS: &d.Version.Number}} {
		ch.Set = map[string]string{"a1": "3"}
		if _, err := k.Change(ctx, c, k.Org, ch); !errors.Is(err, keep.ErrCASMismatch) {
			t.Errorf("%s: %v", what, err)
		}
	}
	history, err := k.History(ctx, c, k.Org)
	if err != nil || len(history) != 2 || history[0].User != 0 || history[0].Token != 0 || history[0].Count != -1 {
		t.Errorf("history: %+v, %v", history, err)
	}
}

// TestWriterLearnsNoValues checks that a caller who can write but not read can't find
// out a value by guessing.
func TestWriterLearnsNoValues(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	k.MustChange(t, set("a", "secret", "b", "1"))
	k.MustChange(t, set("c", "1")) // so that version 1 isn't current
	tag := func() string {
		d, err := k.Values(ctx, k.Operator(t, keep.InfluxDB), k.Org, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		return d.Tag
	}
	write := acl.Set{
		{Action: acl.Read, Resource: acl.Resource{Type: acl.Orgs, ID: k.Org}},
		{Action: acl.Write, Resource: acl.Resource{Type: acl.Secrets, OrgID: k.Org}},
	}
	for _, p := range []keep.Protocol{keep.InfluxDB, keep.Vault, keep.Influxd} {
		c := k.MustCaller(t, p, k.MustToken(t, keep.NewToken{Permissions: write}).Value)
		outcome := func(ch keep.Change) string {
			t.Helper()
			before, err := k.Metadata(ctx, k.Operator(t, p), k.Org)
			if err != nil {
				t.Fatal(err)
			}
			w, err := k.Change(ctx, c, k.Org, ch)
			if w.Tag != "" {
				t.Errorf("it gets the tag %s", w.Tag)
			}
			if err != nil {
				return err.Error()
			}
			return fmt.Sprint(w.Changed, w.Version.Number-before.Current)
		}
		old := uint64(1)
		for what, guess := range map[string]func(value string) keep.Change{
			"value":    func(v string) keep.Change { return set("a", v) },
			"document": func(v string) keep.Change { ch := set("a", v, "b", "1"); ch.Replace = true; return ch },
			"merge": func(v string) keep.Change {
				ch := set("a", v, "b", "2")
				ch.Replace, ch.Merge, ch.CAS = true, true, &old
				return ch
			},
			"tag": func(v string) keep.Change { ch := set("a", v); ch.Tag = tag(); return ch },
			"name": func(v string) keep.Change {
				return keep.Change{Remove: []string{map[string]string{"secret": "b"}[v] + "x"}}
			},
			"removed anyway": func(v string) keep.Change { return keep.Change{Set: map[string]string{"a": v}, Remove: []string{"x"}} },
		} {
			k.MustChange(t, set("a", "secret", "b", "1"))
			right := outcome(guess("secret"))
			k.MustChange(t, set("a", "secret", "b", "1"))
			if wrong := outcome(guess("wrong")); right != wrong {
				t.Errorf("%s over %s: a right guess gives %q, a wrong one %q", what, p, right, wrong)
			}
		}
	}
}
