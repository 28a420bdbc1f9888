package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/logtest"
	"github.com/fluxkeep/fluxkeep/internal/race"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// A model of who may do what, independent of the code that decides it, and tests that
// compare the two through the real API in a small universe: two organizations, three
// users, four tokens. The model uses only the types of package acl.

// rights are the rights of a token or a session.
type rights struct {
	user        keep.ID
	token       keep.ID // zero for a session
	permissions acl.Set
	names       bool      // limited to names that begin with b
	ends        time.Time // zero: never
}

// rightsModel knows what exists.
type rightsModel struct {
	orgs    []keep.ID
	users   []keep.ID
	tokens  map[keep.ID]*modelToken
	members map[[2]keep.ID]keep.Role // by organization and user
}

type modelToken struct {
	org      keep.ID
	inactive bool
	rights
}

// home returns the organization that a resource belongs to.
func (m *rightsModel) home(r acl.Resource) keep.ID {
	switch {
	case r.ID == 0:
		return r.OrgID
	case r.Type == acl.Orgs:
		return r.ID
	case r.Type == acl.Users:
		return 0
	case r.Type == acl.Authorizations && m.tokens[r.ID] != nil:
		return m.tokens[r.ID].org
	}
	return r.OrgID
}

// may reports whether the rights include a permission for the resource, or for all of
// its type.
func (m *rightsModel) may(p *rights, a acl.Action, t acl.Type, org, id keep.ID) bool {
	home := m.home(acl.Resource{Type: t, OrgID: org, ID: id})
	return slices.ContainsFunc(p.permissions, func(held acl.Permission) bool {
		r := held.Resource
		return held.Action == a && (r.Type == t || r.Type == acl.Instance) &&
			(r.ID == 0 || r.ID == id) && (r.OrgID == 0 || r.OrgID == home)
	})
}

func (m *rightsModel) org(p *rights, a acl.Action, id keep.ID) bool {
	return m.may(p, a, acl.Orgs, 0, id)
}

func (m *rightsModel) user(p *rights, a acl.Action, id keep.ID) bool {
	return m.may(p, a, acl.Users, 0, id)
}

// secrets asks for a permission on secrets over InfluxDB's protocol, where the
// organization must be readable too.
func (m *rightsModel) secrets(p *rights, a acl.Action, org keep.ID) bool {
	return m.org(p, acl.Read, org) && m.may(p, a, acl.Secrets, org, 0)
}

func (p *rights) unlimited() bool { return !p.names && p.ends.IsZero() }

// outlives reports whether a token expires after the caller.
func (t *modelToken) outlives(p *rights) bool {
	return !p.ends.IsZero() && (t.ends.IsZero() || t.ends.After(p.ends))
}

// token checks permissions for a token: for itself and its user, within the caller's
// limits.
func (m *rightsModel) token(p *rights, a acl.Action, id keep.ID) bool {
	t := m.tokens[id]
	return m.may(p, a, acl.Authorizations, 0, id) && m.user(p, a, t.user) &&
		(!p.names || t.names) && (a == acl.Read || !t.outlives(p))
}

// create reports whether the caller can create a token. The caller needs every right
// that the token gets, for resources that exist.
func (m *rightsModel) create(p *rights, t *modelToken) bool {
	if !m.may(p, acl.Write, acl.Authorizations, t.org, 0) || !m.user(p, acl.Write, t.user) {
		return false
	}
	if p.names && !t.names || t.outlives(p) {
		return false
	}
	return !slices.ContainsFunc(t.permissions, func(q acl.Permission) bool {
		return q.Resource.OrgID != 0 && q.Resource.OrgID != t.org || !m.gives(p, q)
	})
}

func (m *rightsModel) gives(p *rights, q acl.Permission) bool {
	r := q.Resource
	switch {
	case r.Type == acl.Instance:
		return false
	case m.may(p, q.Action, r.Type, 0, 0):
		return true
	case r.ID == 0 || r.Type != acl.Orgs && r.Type != acl.Users && r.Type != acl.Authorizations:
		return m.may(p, q.Action, r.Type, r.OrgID, r.ID)
	}
	home := m.home(r)
	exists := slices.Contains(m.orgs, r.ID) || slices.Contains(m.users, r.ID) || m.tokens[r.ID] != nil
	named := r.OrgID // from the request: a token without an organization belongs to none
	if r.Type != acl.Authorizations {
		named = home
	}
	held := slices.ContainsFunc(p.permissions, func(h acl.Permission) bool {
		return h.Action == q.Action && (h.Resource.Type == r.Type || h.Resource.Type == acl.Instance) &&
			(h.Resource.ID == 0 || h.Resource.ID == r.ID) && (h.Resource.OrgID == 0 || h.Resource.OrgID == named)
	})
	return held && exists && m.may(p, q.Action, r.Type, 0, r.ID) && (r.OrgID == 0 || r.OrgID == home)
}

func (m *rightsModel) operator(p *rights) bool {
	for _, t := range acl.Types() {
		if t != acl.Instance && !(m.may(p, acl.Read, t, 0, 0) && m.may(p, acl.Write, t, 0, 0)) {
			return false
		}
	}
	return !p.names
}

// session returns the rights of a user's session.
func (m *rightsModel) session(user, instanceOwner keep.ID) *rights {
	p := &rights{user: user}
	add := func(a acl.Action, r acl.Resource) {
		p.permissions = append(p.permissions, acl.Permission{Action: a, Resource: r})
	}
	for _, a := range acl.Actions() {
		add(a, acl.Resource{Type: acl.Users, ID: user})
		if user == instanceOwner {
			add(a, acl.Resource{Type: acl.Instance})
		}
		for _, org := range m.orgs {
			role := m.members[[2]keep.ID{org, user}]
			if role == "" || a == acl.Write && role != keep.Owner {
				continue
			}
			for _, t := range acl.Types() {
				switch t {
				case acl.Instance:
				case acl.Orgs:
					add(a, acl.Resource{Type: t, ID: org})
				default:
					add(a, acl.Resource{Type: t, OrgID: org})
				}
			}
		}
	}
	for _, t := range m.tokens {
		if t.user == user && !t.inactive && t.unlimited() {
			p.permissions = append(p.permissions, t.permissions...)
		}
	}
	return p
}

// deed is a request to the API, and a rule for who may send it.
type deed struct {
	name    string // method, path, and what distinguishes it from others
	body    string
	allowed func(p *rights) bool
	shows   string // in the answer, if allowed
	slow    bool   // attempts are limited
}

// deeds returns all deeds except those of creations.
func (u *universe) deeds() []deed {
	m := &u.rightsModel
	var all []deed
	add := func(name, body string, allowed func(p *rights) bool) {
		all = append(all, deed{name: name, body: body, allowed: allowed})
	}
	for _, o := range u.orgs {
		org := "/api/v2/orgs/" + o.String()
		guest := u.users[0]
		if o == u.orgs[0] {
			guest = u.users[1]
		}
		reads := func(p *rights) bool { return m.org(p, acl.Read, o) }
		changes := func(p *rights) bool { return m.org(p, acl.Write, o) && p.unlimited() }
		add("GET "+org, "", reads)
		add("PATCH "+org, `{"description":"x"}`, changes)
		add("DELETE "+org, "", changes)
		add("GET "+org+"/members", "", reads)
		add("GET "+org+"/owners", "", reads)
		for _, role := range []string{"/members", "/owners"} {
			add("POST "+org+role, fmt.Sprintf(`{"id":%q}`, guest), func(p *rights) bool {
				return reads(p) && changes(p) && m.user(p, acl.Read, guest)
			})
			add("DELETE "+org+role+"/"+guest.String(), "", func(p *rights) bool { return reads(p) && changes(p) })
		}
		secrets := func(a acl.Action) func(p *rights) bool {
			return func(p *rights) bool { return m.secrets(p, a, o) }
		}
		whole := func(p *rights) bool { return m.secrets(p, acl.Write, o) && !p.names }
		add("GET "+org+"/secrets", "", secrets(acl.Read))
		add("GET "+org+"/secrets/values", "", secrets(acl.Read))
		add("GET "+org+"/secrets/values #hidden", "", func(p *rights) bool { return m.secrets(p, acl.Read, o) && !p.names })
		all[len(all)-1].shows = worldValue
		add("GET "+org+"/secrets/history", "", secrets(acl.Read))
		add("GET "+org+"/secrets/readers", "", secrets(acl.Read))
		add("PATCH "+org+"/secrets", `{"b1":"x"}`, secrets(acl.Write))
		add("PATCH "+org+"/secrets #hidden", `{"a":"x"}`, whole)
		add("PUT "+org+"/secrets/values", `{"b1":"x"}`, secrets(acl.Write))
		add("DELETE "+org+"/secrets/b1", "", secrets(acl.Write))
		add("DELETE "+org+"/secrets/a", "", whole)
		add("POST "+org+"/secrets/rollback", `{"version":1}`, func(p *rights) bool { return whole(p) && m.secrets(p, acl.Read, o) })
		vault := "/v1/secret/data/" + o.String()
		kv := func(a acl.Action) func(p *rights) bool {
			return func(p *rights) bool { return m.may(p, a, acl.Secrets, o, 0) }
		}
		kvWhole := func(p *rights) bool { return m.may(p, acl.Write, acl.Secrets, o, 0) && !p.names }
		add("GET "+vault, "", kv(acl.Read))
		add("POST "+vault, `{"data":{"b1":"x"}}`, kv(acl.Write))
		add("POST "+vault+" #hidden", `{"data":{"a":"x"}}`, kvWhole)
		add("DELETE "+vault, "", kvWhole)
		add("GET /v1/secret/metadata/"+o.String(), "", kv(acl.Read))
		add("POST /v1/secret/metadata/"+o.String(), `{"max_versions":5}`, kvWhole)
		add("DELETE /v1/secret/metadata/"+o.String(), "", kvWhole)
	}
	for i, id := range u.users {
		user := "/api/v2/users/" + id.String()
		changes := func(p *rights) bool { return m.user(p, acl.Write, id) && p.unlimited() }
		add("GET "+user, "", func(p *rights) bool { return m.user(p, acl.Read, id) })
		add("PATCH "+user, fmt.Sprintf(`{"name":%q}`, u.userNames[i]), changes)
		add("DELETE "+user, "", changes)
		add("POST "+user+"/password", `{"password":"battery staple"}`, changes)
		all[len(all)-1].slow = true
	}
	for _, id := range u.fixed {
		token := "/api/v2/authorizations/" + id.String()
		write := func(p *rights) bool { return m.token(p, acl.Write, id) }
		add("GET "+token, "", func(p *rights) bool { return m.token(p, acl.Read, id) })
		add("PATCH "+token, `{"description":"x"}`, func(p *rights) bool { return m.token(p, acl.Read, id) && write(p) })
		add("DELETE "+token, "", write)
	}
	add("POST /api/v2/orgs", `{"name":"x"}`, func(p *rights) bool { return m.may(p, acl.Write, acl.Orgs, 0, 0) && p.unlimited() })
	add("POST /api/v2/users", `{"name":"x"}`, func(p *rights) bool { return m.may(p, acl.Write, acl.Users, 0, 0) && p.unlimited() })
	for _, name := range []string{"GET /api/v2/config", "GET /api/v2/fluxkeep/keys"} {
		add(name, "", m.operator)
	}
	return all
}

// creations returns deeds that create limited and unlimited tokens with one
// permission.
func (u *universe) creations() []deed {
	var all []deed
	for _, org := range u.orgs {
		var set []acl.Resource
		for _, t := range []acl.Type{acl.Secrets, acl.Users, acl.Authorizations, acl.Orgs, acl.Instance, "buckets"} {
			set = append(set, acl.Resource{Type: t, OrgID: org}, acl.Resource{Type: t})
		}
		for _, in := range []keep.ID{0, org} {
			set = append(set, acl.Resource{Type: acl.Users, ID: u.users[0], OrgID: in}, acl.Resource{Type: acl.Orgs, ID: u.orgs[0], OrgID: in},
				acl.Resource{Type: acl.Authorizations, ID: u.fixed[0], OrgID: in}, acl.Resource{Type: acl.Authorizations, ID: u.fixed[1], OrgID: in},
				acl.Resource{Type: acl.Users, ID: absentID, OrgID: in}, acl.Resource{Type: acl.Orgs, ID: absentID, OrgID: in},
				acl.Resource{Type: acl.Authorizations, ID: absentID, OrgID: in})
		}
		for i, r := range set {
			a := acl.Actions()[i%2]
			for limit := range 4 {
				t := &modelToken{org: org, rights: rights{permissions: acl.Set{{Action: a, Resource: r}}, names: limit&1 != 0}}
				if limit&2 != 0 {
					t.ends = u.end.Add(-time.Hour)
				}
				name, body := u.creation(t)
				all = append(all, deed{name: name, body: body, allowed: func(p *rights) bool {
					made := *t
					made.user = p.user
					return u.create(p, &made)
				}})
			}
		}
	}
	return all
}

// creation returns the request that creates a token.
func (u *universe) creation(t *modelToken) (name, body string) {
	var list []string
	for _, p := range t.permissions {
		r := fmt.Sprintf(`"type":%q`, p.Resource.Type)
		if p.Resource.ID != 0 {
			r += fmt.Sprintf(`,"id":%q`, p.Resource.ID)
		}
		if p.Resource.OrgID != 0 {
			r += fmt.Sprintf(`,"orgID":%q`, p.Resource.OrgID)
		}
		list = append(list, fmt.Sprintf(`{"action":%q,"resource":{%s}}`, p.Action, r))
	}
	limits := ""
	if t.names {
		limits += `,"names":["b1"]`
	}
	if !t.ends.IsZero() {
		limits += fmt.Sprintf(`,"expiresAt":%q`, t.ends.Format(time.RFC3339))
	}
	if t.user != 0 {
		limits += fmt.Sprintf(`,"userID":%q`, t.user)
	}
	name = fmt.Sprintf("POST /api/v2/authorizations #%v%s", t.permissions, limits)
	return name, fmt.Sprintf(`{"orgID":%q,"permissions":[%s]%s}`, t.org, strings.Join(list, ","), limits)
}

const absentID keep.ID = 0xdeadbeef

// universe is a server with two organizations, three users and four tokens.
type universe struct {
	rightsModel
	*world
	dry       *dryStore
	userNames []string
	passwords map[keep.ID]string
	fixed     []keep.ID // the tokens that always exist
	values    map[keep.ID]string
	end       time.Time // when tokens limited in time expire
}

func newUniverse(t *testing.T) *universe {
	t.Helper()
	u := &universe{world: &world{log: new(logtest.Log)}, passwords: map[keep.ID]string{}, values: map[keep.ID]string{}}
	logger, _ := NewLogger(u.log, config.New())
	u.Kit = keeptest.New(t, &keeptest.Options{
		Configure: func(c *keep.Config) { c.Logger, c.SessionLength = logger, 100*365*24*time.Hour },
		Wrap:      func(s store.Store) store.Store { u.dry = &dryStore{Store: s}; return u.dry },
	})
	u.serve(t)
	ctx, op := t.Context(), u.Operator(t, keep.InfluxDB)
	u.end = u.Clock.Now().Add(10 * 365 * 24 * time.Hour).Truncate(time.Second)
	other, err := u.CreateOrganization(ctx, op, "other", "")
	if err != nil {
		t.Fatal(err)
	}
	u.orgs, u.users, u.userNames = []keep.ID{u.Org, other.ID}, []keep.ID{u.Admin}, []string{"admin", "bob", "eve"}
	u.members = map[[2]keep.ID]keep.Role{{u.Org, u.Admin}: keep.Owner, {other.ID, u.Admin}: keep.Owner}
	if err := u.RemoveMember(ctx, op, other.ID, u.Admin); err != nil {
		t.Fatal(err)
	}
	delete(u.members, [2]keep.ID{other.ID, u.Admin})
	for _, name := range u.userNames[1:] {
		made, err := u.CreateUser(ctx, op, name, true)
		if err != nil {
			t.Fatal(err)
		}
		u.users = append(u.users, made.ID)
	}
	for _, org := range u.orgs {
		for range 2 { // to have a version to roll back to
			if _, err := u.Change(ctx, op, org, keep.Change{Set: map[string]string{"a": worldValue, "b1": worldOther}, Always: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	u.tokens = map[keep.ID]*modelToken{}
	bob := u.users[1]
	for _, n := range []*modelToken{
		{org: u.orgs[0], rights: rights{user: u.Admin, permissions: acl.Operator()}},
		{org: u.orgs[1], rights: rights{user: bob, permissions: acl.Owner(u.orgs[1])}},
		{org: u.orgs[0], rights: rights{user: u.Admin, permissions: keeptest.ReadSecrets(u.orgs[0]), names: true}},
		{org: u.orgs[1], rights: rights{user: bob, permissions: keeptest.ReadSecrets(u.orgs[1]), ends: u.end}},
	} {
		u.fixed = append(u.fixed, u.add(t, n))
	}
	// The objects of the setup aren't part of the model, except their rights.
	if err := u.DeleteToken(ctx, op, u.MustCaller(t, keep.InfluxDB, u.OperatorToken).Token); err != nil {
		t.Fatal(err)
	}
	u.OperatorToken = u.values[u.fixed[0]]
	u.dry.on.Store(true)
	return u
}

// add creates a token as the operator.
func (u *universe) add(t *testing.T, n *modelToken) keep.ID {
	t.Helper()
	made := u.MustToken(t, u.newToken(n))
	u.Plant(t, made.ID, n.permissions)
	n.token = made.ID
	u.tokens[made.ID], u.values[made.ID] = n, made.Value
	return made.ID
}

func (u *universe) newToken(n *modelToken) keep.NewToken {
	out := keep.NewToken{Org: n.org, User: n.user, Permissions: keeptest.ReadSecrets(n.org), Expires: n.ends}
	if n.names {
		out.Names = []string{"b*"}
	}
	return out
}

// dryStore, while it is on, fails each allowed change, so that the world stays the
// same. It recognizes changes by their audit record, which they write last.
type dryStore struct {
	store.Store
	on      atomic.Bool
	refused atomic.Int64
}

var errDry = errors.New("dry run")

func (d *dryStore) Exclusive() bool { return false } // no result may be cached

func (d *dryStore) Update(ctx context.Context, fn func(store.Tx) error) error {
	if !d.on.Load() {
		return d.Store.Update(ctx, fn)
	}
	return d.Store.Update(ctx, func(t store.Tx) error { return fn(&dryTx{t, d}) })
}

type dryTx struct {
	store.Tx
	store *dryStore
}

func (t *dryTx) Set(key, value []byte) error {
	const outbox = 'a' // see keep's keys
	if key[0] == outbox {
		t.store.refused.Add(1)
		return errDry
	}
	return t.Tx.Set(key, value)
}

// ask sends a deed's request and reports whether it was allowed.
func (u *universe) try(t *testing.T, p *person, d *deed) bool {
	t.Helper()
	if d.slow {
		u.Clock.Advance(time.Hour)
	}
	method, path, _ := strings.Cut(d.name, " ")
	path, _, _ = strings.Cut(path, " #")
	r := httptest.NewRequest(method, path, strings.NewReader(d.body))
	p.show(r)
	before := u.dry.refused.Load()
	got := u.ask(r)
	body := got.Body.String()
	switch {
	case u.dry.refused.Load() > before:
		return true
	case got.Code < 300:
		return strings.Contains(body, d.shows)
	case got.Code >= 400 && got.Code < 500:
		if text := u.leak(body); text != "" {
			t.Errorf("%s by %s: the refusal has %s", d.name, p.name, text)
		}
	default:
		t.Errorf("%s by %s: %d %s", d.name, p.name, got.Code, body)
	}
	return false
}

// TestRightsModel tries every deed with every combination of a permission's type,
// action, ID and organization: as the only permission and together with all other
// types, limited and unlimited.
func TestRightsModel(t *testing.T) {
	race.SkipSequential(t)
	u := newUniverse(t)
	eve := u.users[2]
	all := acl.Set{}
	var held []acl.Permission
	for _, typ := range []acl.Type{acl.Authorizations, acl.Orgs, acl.Users, acl.Secrets, acl.Instance, "buckets"} {
		ids := []keep.ID{0, absentID}
		switch typ {
		case acl.Authorizations:
			ids = append(ids, u.fixed...)
		case acl.Users:
			ids = append(ids, u.users...)
		default:
			ids = append(ids, u.orgs...)
		}
		for _, a := range acl.Actions() {
			for _, id := range ids {
				for _, org := range []keep.ID{0, u.orgs[0], u.orgs[1]} {
					held = append(held, acl.Permission{Action: a, Resource: acl.Resource{Type: typ, ID: id, OrgID: org}})
				}
			}
		}
	}
	all = append(all, acl.Operator()...)
	callers := map[string]*modelToken{}
	u.dry.on.Store(false)
	for limit := range 4 {
		n := &modelToken{org: u.orgs[1], rights: rights{user: eve, names: limit&1 != 0}}
		if limit&2 != 0 {
			n.ends = u.end
		}
		u.add(t, n)
		callers[fmt.Sprint(limit)] = n
	}
	u.dry.on.Store(true)
	deeds := append(u.deeds(), u.creations()...)
	step := 1
	if testing.Short() {
		step = 41
	}
	tried, allowed, n := 0, 0, 0
	for _, p := range held {
		for _, beside := range []bool{false, true} {
			for _, limit := range slices.Sorted(maps.Keys(callers)) {
				if n++; n%step != 0 {
					continue
				}
				caller := callers[limit]
				caller.permissions = acl.Set{p}
				if beside {
					caller.permissions = append(caller.permissions, slices.DeleteFunc(slices.Clone(all), func(q acl.Permission) bool {
						return q.Resource.Type == p.Resource.Type && (q.Action == p.Action || p.Resource.ID != 0)
					})...)
				}
				u.Plant(t, caller.token, caller.permissions)
				who := &person{name: fmt.Sprintf("a token with %v, all else %v, limits %s", p, beside, limit), value: u.values[caller.token]}
				for i := range deeds {
					d := &deeds[i]
					want := d.allowed(&caller.rights)
					if got := u.try(t, who, d); got != want {
						t.Errorf("%s by %s: allowed %v, want %v", d.name, who.name, got, want)
					}
					tried++
					if want {
						allowed++
					}
				}
				if t.Failed() {
					t.FailNow()
				}
			}
		}
	}
	t.Logf("%d requests, %d of them allowed", tried, allowed)
}
