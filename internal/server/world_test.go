package server

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/config"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/logtest"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// world is a whole server's handler over a domain with two organizations and all kinds
// of callers.
type world struct {
	*keeptest.Kit
	handler *handler
	log     *logtest.Log
	people  []person
	// The objects in paths: an organization with the secrets "a" and "b1", whose first
	// version is pinned, and a user and a token that belong to none of the callers.
	org, user, token keep.ID
	// hidden are all tokens, session keys, passwords and values. None may be in the
	// answer to a refused request, or in the log.
	hidden []string
}

// person is a caller with a credential.
type person struct {
	column  string // of the access table
	name    string
	user    keep.ID
	token   keep.ID
	value   string // the token, or the session's key
	session bool
}

// The values of the organization's secrets (the second of those that begin with b),
// and everybody's password.
const (
	worldValue    = "marker-value-53d1c4"
	worldOther    = "marker-value-0be882"
	worldPassword = "marker-password-9a71"
)

// reachingOwner is the owner of another organization, with a token that names objects
// outside it. Lists of tokens show these IDs.
const reachingOwner = "another organization's owner with others' IDs"

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return newWorldIn(tb, nil)
}

// newWorldIn is newWorld with another store than the embedded one.
func newWorldIn(tb testing.TB, open keeptest.StoreOpener) *world {
	tb.Helper()
	w := &world{log: new(logtest.Log)}
	c := config.New()
	c.LogLevel = -8
	logger, _ := NewLogger(w.log, c)
	w.Kit = keeptest.New(tb, &keeptest.Options{OpenStore: open, Configure: func(c *keep.Config) {
		c.Logger = logger
		c.SaveKeys = func(context.Context, *seal.Keys) error { return nil }
	}})
	w.org = w.Org
	secrets := map[string]string{"a": worldValue, "b1": worldOther}
	w.MustChange(tb, keep.Change{Set: map[string]string{"a": worldValue, "b1": worldOther, "c": worldValue, "d": worldValue}})
	dropped, err := w.Change(tb.Context(), w.Operator(tb, keep.Influxd), w.org, keep.Change{Set: secrets, Replace: true, Guard: true})
	if err != nil || dropped.Pinned != 1 {
		tb.Fatalf("version %d is pinned, %v", dropped.Pinned, err)
	}
	w.populate(tb)
	w.hidden = append(w.hidden, worldValue, worldOther, worldPassword, w.Password)
	w.serve(tb)
	return w
}

// clone closes this world and returns a copy in its initial state.
func (w *world) clone(tb testing.TB) *world {
	tb.Helper()
	c := *w
	c.Kit = w.Kit.Clone(tb)
	c.serve(tb)
	return &c
}

// forget closes a world and removes its data.
func (w *world) forget(tb testing.TB) {
	tb.Helper()
	w.Close(tb)
	if err := os.RemoveAll(w.Dir); err != nil {
		tb.Fatal(err)
	}
}

func (w *world) serve(tb testing.TB) {
	tb.Helper()
	c := config.New()
	c.Version, c.LogLevel, c.BindAddress = "1.2.3", -8, "[::]:8086"
	logger, _ := NewLogger(w.log, c)
	var err error
	w.handler, err = newHandler(c, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.BindAddress)), w.Keep, logger, influxv2.Config{
		Settings: func() map[string]any { return map[string]any{"data-dir": "data"} },
	}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	w.handler.metrics = metricsHandler(prometheus.NewRegistry())
}

// populate creates all callers. Each has the strongest rights possible: inactive and
// expired tokens, and those of deleted users, are operator tokens.
func (w *world) populate(tb testing.TB) {
	tb.Helper()
	ctx, op := tb.Context(), w.Operator(tb, keep.InfluxDB)
	check := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	user := func(name string) keep.ID {
		tb.Helper()
		u, err := w.CreateUser(ctx, op, name, true)
		check(err)
		check(w.SetPassword(ctx, op, u.ID, worldPassword))
		return u.ID
	}
	add := func(column, name string, n keep.NewToken) keep.Token {
		tb.Helper()
		t := w.MustToken(tb, n)
		w.people = append(w.people, person{column: column, name: name, user: t.User, token: t.ID, value: t.Value})
		return t
	}
	login := func(column, name string, parent keep.Token) {
		tb.Helper()
		l, err := w.Login(ctx, keep.Anonymous(keeptest.Origin(keep.Vault)), parent.ID.String(), parent.Value)
		check(err)
		w.people = append(w.people, person{column: column, name: name, user: parent.User, token: l.ID, value: l.Value})
	}
	session := func(column, name, userName, password string, user, token keep.ID) {
		tb.Helper()
		s, err := w.SignIn(ctx, keep.Anonymous(keeptest.Origin(keep.InfluxDB)), userName, password)
		check(err)
		w.people = append(w.people, person{column: column, name: name, user: user, token: token, value: s.Key, session: true})
	}
	off := false

	w.people = append(w.people,
		person{column: "unknown", name: "nobody"},
		person{column: "unknown", name: "a wrong token", value: "no such token"},
		person{column: "unknown", name: "a wrong session", value: "no such session", session: true})
	// Credentials that expire come first, and then the clock moves.
	add("unknown", "an expired token", keep.NewToken{Permissions: acl.Operator(), Expires: w.Clock.Now().Add(time.Minute)})
	session("unknown", "an ended session", "admin", w.Password, w.Admin, 0)
	login("unknown", "an expired login token", w.MustToken(tb, keep.NewToken{Permissions: acl.Operator()}))
	w.Clock.Advance(2 * time.Hour)

	dead := w.MustToken(tb, keep.NewToken{Permissions: acl.Operator()})
	login("unknown", "a login token of a deleted token", dead)
	check(w.DeleteToken(ctx, op, dead.ID))
	dead = w.MustToken(tb, keep.NewToken{Permissions: acl.Operator()})
	login("unknown", "a login token of an inactive token", dead)
	_, err := w.UpdateToken(ctx, op, dead.ID, keep.TokenUpdate{Active: &off})
	check(err)
	dead = w.MustToken(tb, keep.NewToken{Permissions: acl.Operator(), Expires: w.Clock.Now().Add(time.Minute)})
	login("unknown", "a login token of an expired token", dead)
	w.Clock.Advance(2 * time.Minute)

	t := add("inactive", "an inactive token", keep.NewToken{Permissions: acl.Operator()})
	_, err = w.UpdateToken(ctx, op, t.ID, keep.TokenUpdate{Active: &off})
	check(err)

	gone := user("gone")
	t = add("gone", "a deleted user's token", keep.NewToken{User: gone, Permissions: acl.Operator()})
	login("gone", "a login token of a deleted user's token", t)
	session("gone", "a deleted user's session", "gone", worldPassword, gone, t.ID)
	check(w.DeleteUser(ctx, op, gone))
	asleep := user("asleep")
	t = add("gone", "an inactive user's token", keep.NewToken{User: asleep, Permissions: acl.Operator()})
	session("gone", "an inactive user's session", "asleep", worldPassword, asleep, t.ID)
	_, err = w.UpdateUser(ctx, op, asleep, keep.UserUpdate{Active: &off})
	check(err)

	w.user = user("subject")
	w.token = w.MustToken(tb, keep.NewToken{User: w.user, Permissions: keeptest.ReadSecrets(w.org)}).ID
	other, err := w.CreateOrganization(ctx, op, "other", "")
	check(err)
	foreign := user("foreign")
	_, err = w.AddMember(ctx, op, other.ID, foreign, keep.Owner)
	check(err)
	t = add("stranger", "another organization's owner", keep.NewToken{Org: other.ID, User: foreign, Permissions: append(acl.Owner(other.ID), acl.Self(foreign)...)})
	session("stranger", "another organization's owner's session", "foreign", worldPassword, foreign, t.ID)

	// An ID together with an organization that it doesn't belong to grants nothing.
	misplaced := func(org keep.ID) (s acl.Set) {
		for _, r := range []acl.Resource{
			{Type: acl.Users, ID: w.user, OrgID: org},
			{Type: acl.Users, ID: w.Admin, OrgID: org},
			{Type: acl.Authorizations, ID: w.token, OrgID: other.ID},
			{Type: acl.Orgs, ID: w.org, OrgID: other.ID},
			{Type: acl.Secrets, ID: w.org, OrgID: org},
		} {
			s = append(s, acl.Permission{Action: acl.Read, Resource: r}, acl.Permission{Action: acl.Write, Resource: r})
		}
		return s
	}
	reaching := user("reaching")
	t = add("stranger", reachingOwner, keep.NewToken{Org: other.ID, User: reaching, Permissions: acl.Owner(other.ID)})
	w.Plant(tb, t.ID, slices.Concat(acl.Owner(other.ID), acl.Self(reaching), misplaced(other.ID)))
	t = add("reader", "a reader with others' IDs", keep.NewToken{Permissions: keeptest.ReadSecrets(w.org)})
	w.Plant(tb, t.ID, append(misplaced(w.org), keeptest.ReadSecrets(w.org)...))

	add("reader", "a reader", keep.NewToken{Permissions: keeptest.ReadSecrets(w.org)})
	add("limited", "a writer of some names", keep.NewToken{Permissions: keeptest.WriteSecrets(w.org), Names: []string{"b*"}})
	t = add("writer", "a writer", keep.NewToken{Permissions: keeptest.WriteSecrets(w.org)})
	login("login", "a writer's login token", t)

	member, owner := user("member"), user("owner")
	_, err = w.AddMember(ctx, op, w.org, member, keep.Member)
	check(err)
	_, err = w.AddMember(ctx, op, w.org, owner, keep.Owner)
	check(err)
	t = add("member", "a member", keep.NewToken{User: member, Permissions: append(acl.Member(w.org), acl.Self(member)...)})
	session("member", "a member's session", "member", worldPassword, member, t.ID)
	t = add("owner", "an owner", keep.NewToken{User: owner, Permissions: append(acl.Owner(w.org), acl.Self(owner)...)})
	session("owner", "an owner's session", "owner", worldPassword, owner, t.ID)
	t = add("operator", "an operator", keep.NewToken{Permissions: acl.Operator()})
	session("operator", "an operator's session", "admin", w.Password, w.Admin, t.ID)

	for _, p := range w.people {
		if len(p.value) > 20 {
			w.hidden = append(w.hidden, p.value)
		}
	}
	w.hidden = append(w.hidden, w.OperatorToken)
}

// show adds a caller's credential to a request. Vault's protocol has no sessions.
func (p *person) show(r *http.Request) {
	switch {
	case p.session:
		r.AddCookie(&http.Cookie{Name: "influxdb-oss-session", Value: p.value})
	case strings.Contains(r.URL.Path, "/v1/"):
		r.Header.Set("X-Vault-Token", p.value)
	case p.value != "":
		r.Header.Set("Authorization", "Token "+p.value)
	}
}

// ask sends a request.
func (w *world) ask(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec
}

// panics returns the number of handlers that panicked.
func (w *world) panics() float64 { return testutil.ToFloat64(w.handler.requests.panics) }

// leak returns the first hidden text that an answer or a log contains.
func (w *world) leak(text string) string {
	for _, h := range w.hidden {
		quoted, _ := json.Marshal(h) // a string always has a JSON form
		if strings.Contains(text, h) || strings.Contains(text, strings.Trim(string(quoted), `"`)) {
			return h
		}
	}
	return ""
}

// changed reports whether the store has changed.
func (w *world) changed(tb testing.TB, before map[string]string) bool {
	tb.Helper()
	return !maps.Equal(before, w.Contents(tb))
}
