package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/race"
)

// attack is a sequence of steps of an attacker who has some rights.
type attack struct {
	*universe
	rng    *rand.Rand
	has    []*credential
	sleeps []keep.ID // inactive tokens whose value the attacker knows
	knows  map[keep.ID]string
	steps  []string
}

// credential is a token or a session.
type credential struct {
	person
	rights func() *rights
}

// random returns a random element of a list.
func random[T any](a *attack, list ...T) T { return list[a.rng.IntN(len(list))] }

// someRights returns a few random permissions, some of which fit together.
func (a *attack) someRights() acl.Set {
	var s acl.Set
	both := func(r acl.Resource) {
		s = append(s, acl.Permission{Action: acl.Read, Resource: r}, acl.Permission{Action: acl.Write, Resource: r})
	}
	org, user := random(a, a.orgs...), random(a, a.users...)
	for range 1 + a.rng.IntN(4) {
		switch a.rng.IntN(8) {
		case 0:
			s = append(s, keeptest.WriteSecrets(org)...)
		case 1:
			both(acl.Resource{Type: acl.Authorizations, OrgID: org})
		case 2:
			both(acl.Resource{Type: acl.Users, ID: user})
		case 3:
			both(acl.Resource{Type: acl.Orgs, ID: org})
		case 4:
			both(acl.Resource{Type: acl.Users, ID: user, OrgID: org})
		case 5:
			both(acl.Resource{Type: acl.Authorizations, ID: random(a, a.fixed...), OrgID: random(a, 0, a.orgs[0], a.orgs[1])})
		case 6:
			both(acl.Resource{Type: random(a, acl.Users, acl.Orgs, acl.Secrets), OrgID: org})
		case 7:
			s = append(s, acl.Permission{Action: random(a, acl.Actions()...), Resource: acl.Resource{Type: random(a, acl.Users, acl.Secrets, acl.Authorizations, acl.Orgs)}})
		}
	}
	return s
}

// start gives the attacker a token or two, and perhaps an account.
func (a *attack) start(t *testing.T) {
	eve := a.users[2]
	end := a.Clock.Now().Add(24 * time.Hour).Truncate(time.Second)
	for _, org := range a.orgs {
		if role := random(a, "", "", keep.Member, keep.Owner); role != "" {
			if _, err := a.AddMember(t.Context(), a.Operator(t, keep.InfluxDB), org, eve, role); err != nil {
				t.Fatal(err)
			}
			a.members[[2]keep.ID{org, eve}] = role
		}
	}
	if random(a, true, false) {
		a.setPassword(t, eve, "eve's password")
		a.knows[eve] = "eve's password"
	}
	for range 1 + a.rng.IntN(2) {
		n := &modelToken{org: random(a, a.orgs...), rights: rights{user: random(a, eve, eve, a.users[1]), names: random(a, true, false, false), ends: random(a, end, time.Time{}, time.Time{})}}
		if n.permissions = a.someRights(); random(a, true, false) {
			n.permissions = slices.Concat(n.permissions, acl.Owner(n.org), acl.Self(n.user))
		}
		id := a.add(t, n)
		if random(a, true, false, false, false, false) {
			off := false
			if _, err := a.UpdateToken(t.Context(), a.Operator(t, keep.InfluxDB), id, keep.TokenUpdate{Active: &off}); err != nil {
				t.Fatal(err)
			}
			n.inactive = true
			a.sleeps = append(a.sleeps, id)
		}
		a.own(id)
	}
}

func (a *attack) setPassword(t *testing.T, user keep.ID, password string) {
	t.Helper()
	a.Clock.Advance(time.Minute)
	if err := a.SetPassword(t.Context(), a.Operator(t, keep.InfluxDB), user, password); err != nil {
		t.Fatal(err)
	}
}

func (a *attack) own(id keep.ID) {
	n := a.tokens[id]
	a.has = append(a.has, &credential{
		person{name: fmt.Sprintf("token %s with %v, names %v, ends %v", id, n.permissions, n.names, n.ends), value: a.values[id]},
		func() *rights {
			if n.inactive {
				return &rights{}
			}
			return &n.rights
		},
	})
}

// step tries something that could give the attacker more rights, and compares the
// outcome with the model's.
func (a *attack) step(t *testing.T) {
	c := random(a, a.has...)
	m := &a.rightsModel
	switch a.rng.IntN(6) {
	case 0, 1, 2:
		p := c.rights()
		if p.user == 0 {
			return // inactive
		}
		n := &modelToken{org: random(a, a.orgs...), rights: rights{user: p.user, permissions: p.permissions, names: p.names, ends: p.ends}}
		if random(a, true, false) {
			n.permissions = a.someRights()
		}
		switch a.rng.IntN(4) {
		case 0:
			n.user = random(a, a.users...)
		case 1:
			n.names = !n.names
		case 2:
			n.ends = random(a, time.Time{}, a.Clock.Now().Add(time.Hour).Truncate(time.Second))
		}
		// Mostly leave out permissions that a token of this organization can't have.
		n.permissions = slices.DeleteFunc(slices.Clone(n.permissions), func(q acl.Permission) bool {
			return random(a, true, true, false) && (q.Resource.Type == acl.Instance || q.Resource.OrgID != 0 && q.Resource.OrgID != n.org)
		})
		if len(n.permissions) == 0 {
			return
		}
		name, body := a.creation(n)
		var made struct {
			ID    keep.ID
			Token string
		}
		if a.ask(t, c, name, body, m.create(c.rights(), n), &made) {
			n.token = made.ID
			a.tokens[made.ID], a.values[made.ID] = n, made.Token
			a.own(made.ID)
		}
	case 3:
		user := random(a, a.users...)
		p := c.rights()
		a.Clock.Advance(time.Minute)
		password := fmt.Sprintf("password %d", len(a.steps))
		if a.ask(t, c, "POST /api/v2/users/"+user.String()+"/password", fmt.Sprintf(`{"password":%q}`, password), m.user(p, acl.Write, user) && p.unlimited(), nil) {
			a.knows[user] = password
			// Sessions end.
			a.has = slices.DeleteFunc(a.has, func(c *credential) bool { return c.session && c.user == user })
		}
	case 4:
		org, user, role := random(a, a.orgs...), random(a, a.users...), random(a, keep.Member, keep.Owner)
		p, key := c.rights(), [2]keep.ID{org, user}
		if a.members[key] != "" {
			return
		}
		want := m.org(p, acl.Read, org) && m.org(p, acl.Write, org) && p.unlimited() && m.user(p, acl.Read, user)
		if a.ask(t, c, fmt.Sprintf("POST /api/v2/orgs/%s/%ss", org, role), fmt.Sprintf(`{"id":%q}`, user), want, nil) {
			a.members[key] = role
		}
	case 5:
		if len(a.sleeps) == 0 {
			return
		}
		id := random(a, a.sleeps...)
		p := c.rights()
		if a.ask(t, c, "PATCH /api/v2/authorizations/"+id.String(), `{"status":"active"}`, m.token(p, acl.Read, id) && m.token(p, acl.Write, id), nil) {
			a.tokens[id].inactive = false
		}
	}
	if len(a.has) == 0 || random(a, true, false, false, false) {
		a.signIn(t)
	}
}

// signIn signs in as each user whose password the attacker knows.
func (a *attack) signIn(t *testing.T) {
	for _, user := range slices.Sorted(maps.Keys(a.knows)) {
		name := a.userNames[slices.Index(a.users, user)]
		a.Clock.Advance(time.Minute)
		r := httptest.NewRequest("POST", "/api/v2/signin", nil)
		r.SetBasicAuth(name, a.knows[user])
		got := a.world.ask(r)
		if got.Code != http.StatusNoContent {
			t.Fatalf("%s can't sign in: %d %s", name, got.Code, got.Body)
		}
		key := got.Result().Cookies()[0].Value
		a.steps = append(a.steps, "sign in as "+name)
		a.has = append(a.has, &credential{person{name: name + "'s session", user: user, value: key, session: true},
			func() *rights { return a.session(user, a.Admin) }})
	}
}

// ask sends a request that may take effect, and compares the outcome with want.
func (a *attack) ask(t *testing.T, c *credential, name, body string, want bool, into any) bool {
	t.Helper()
	method, path, _ := strings.Cut(name, " ")
	path, _, _ = strings.Cut(path, " #")
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	c.show(r)
	got := a.world.ask(r)
	allowed := got.Code < 300
	if allowed {
		a.steps = append(a.steps, name+" by "+c.name)
	}
	if allowed != want || got.Code >= 500 {
		t.Errorf("%s by %s: %d %s, allowed %v, want %v", name, c.name, got.Code, got.Body, allowed, want)
	}
	if allowed && into != nil {
		if err := json.Unmarshal(got.Body.Bytes(), into); err != nil {
			t.Fatal(err)
		}
	}
	return allowed
}

// reach returns the deeds that were granted to the attacker: those that all unlimited
// credentials allow together, with their consequences, and those of each limited one.
// With later, the credentials limited in time have expired.
//
// Permission to write a user includes signing in as that user, to write an
// organization includes owning it, and to write a token includes activating it.
func (a *attack) reach(deeds []deed, later bool) map[string]bool {
	pool := &rights{}
	var limited []*rights
	hold := func(p *rights) {
		switch {
		case p.unlimited():
			pool.permissions = append(pool.permissions, p.permissions...)
		case !later || p.ends.IsZero():
			limited = append(limited, p)
		}
	}
	for _, c := range a.has {
		hold(c.rights())
	}
	for user := range a.knows {
		hold(a.session(user, a.Admin))
	}
	done := map[keep.ID]bool{}
	once := func(id keep.ID, given bool, gain func() *rights) (gained bool) {
		if !given || done[id] {
			return false
		}
		done[id] = true
		hold(gain())
		return true
	}
	m := &a.rightsModel
	for again := true; again; {
		again = false
		for _, user := range a.users {
			again = once(user, m.user(pool, acl.Write, user), func() *rights { return a.session(user, a.Admin) }) || again
		}
		for _, org := range a.orgs {
			again = once(org, m.org(pool, acl.Read, org) && m.org(pool, acl.Write, org), func() *rights { return &rights{permissions: acl.Owner(org)} }) || again
		}
		for _, id := range a.sleeps {
			for _, p := range append(slices.Clone(limited), pool) {
				again = once(id, m.token(p, acl.Write, id), func() *rights { return &a.tokens[id].rights }) || again
			}
		}
	}
	reach := map[string]bool{}
	for _, d := range deeds {
		for _, p := range append(limited, pool) {
			reach[d.name] = reach[d.name] || d.allowed(p)
		}
	}
	return reach
}

// check tries every deed that wasn't granted, with each of the attacker's credentials.
func (a *attack) check(t *testing.T, deeds []deed, given map[string]bool, when string) {
	t.Helper()
	a.dry.on.Store(true)
	defer a.dry.on.Store(false)
	for _, c := range a.has {
		for i := range deeds {
			if d := &deeds[i]; !given[d.name] && a.try(t, &c.person, d) {
				t.Errorf("%s by %s, %s: it was never granted", d.name, c.name, when)
			}
		}
	}
}

// stop undoes all changes.
func (a *attack) stop(t *testing.T, before *universe) {
	ctx, op := t.Context(), a.Operator(t, keep.InfluxDB)
	for id := range a.tokens {
		if before.tokens[id] == nil {
			if err := a.DeleteToken(ctx, op, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	for key := range a.members {
		if before.members[key] == "" {
			if err := a.RemoveMember(ctx, op, key[0], key[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for user := range a.knows {
		a.setPassword(t, user, "nobody knows this") // also ends sessions
	}
}

// TestNoSequenceGivesRights checks that no sequence of up to four steps gives an
// attacker a right that was never granted, or one that outlives its limits.
func TestNoSequenceGivesRights(t *testing.T) {
	race.SkipSequential(t)
	u := newUniverse(t)
	u.dry.on.Store(false)
	deeds := u.deeds()
	attacks := 300
	if testing.Short() {
		attacks = 10
	}
	steps := 0
	for seed := range uint64(attacks) {
		mine := *u
		mine.tokens, mine.members, mine.values = maps.Clone(u.tokens), maps.Clone(u.members), maps.Clone(u.values)
		a := &attack{universe: &mine, rng: rand.New(rand.NewPCG(seed, 0)), knows: map[keep.ID]string{}}
		deeds := mine.deeds()
		a.start(t)
		given, lasting := a.reach(deeds, false), a.reach(deeds, true)
		for tries := 0; tries < 20 && len(a.steps) < 4; tries++ {
			a.step(t)
		}
		a.check(t, deeds, given, "at once")
		a.Clock.Advance(48 * time.Hour)
		a.check(t, deeds, lasting, "when limits have ended")
		a.stop(t, u)
		steps += len(a.steps)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(a.steps, "\n"))
		}
	}
	t.Logf("%d attacks of %d steps that were allowed, %d deeds", attacks, steps, len(deeds))
}
