package influxv2_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// real is a client of a real server.
type real struct {
	*client.Client
	kit *keeptest.Kit
	url string
	org string
}

func newReal(t *testing.T, o *keeptest.Options) *real {
	t.Helper()
	kit := keeptest.New(t, o)
	done := make(chan struct{})
	srv := httptest.NewServer(influxv2.New(kit.Keep, influxv2.Config{Done: done}))
	t.Cleanup(func() { close(done); srv.Close() })
	r := &real{kit: kit, url: srv.URL, org: kit.Org.String()}
	r.Client = r.as(t, kit.OperatorToken)
	return r
}

func (r *real) as(t *testing.T, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: r.url, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func isCode(t *testing.T, err error, code client.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("got %v, want %v", err, code)
	}
}

func TestServerSetup(t *testing.T) {
	r := newReal(t, &keeptest.Options{Fresh: true})
	c := r.as(t, "")
	ctx := t.Context()
	if allowed, err := c.SetupAllowed(ctx); err != nil || !allowed {
		t.Fatalf("allowed: %v, %v", allowed, err)
	}
	q := client.SetupRequest{Username: "ann", Password: "battery staple", Org: "acme", Bucket: "b"}
	res := must[client.SetupResult](t)(c.Setup(ctx, q))
	if res.User.Name != "ann" || res.Org.Name != "acme" || len(res.Auth.Token) < 80 {
		t.Errorf("set up %+v", res)
	}
	_, err := c.Setup(ctx, q)
	isCode(t, err, client.ErrConflict)

	me := must[client.User](t)(r.as(t, res.Auth.Token).Me(ctx))
	if me != res.User {
		t.Errorf("the token is of %+v", me)
	}
	isCode(t, c.SignIn(ctx, "ann", "wrong password"), client.ErrUnauthorized)
	check(t, c.SignIn(ctx, "ann", "battery staple"))
	if me := must[client.User](t)(c.Me(ctx)); me != res.User {
		t.Errorf("signed in as %+v", me)
	}
	check(t, c.ChangePassword(ctx, "ann", "battery staple", "correct horse"))
	check(t, c.SignIn(ctx, "ann", "correct horse"))
	check(t, c.SignOut(ctx))
	_, err = c.Me(ctx)
	isCode(t, err, client.ErrUnauthorized)
}

func TestServerOrganizations(t *testing.T) {
	r := newReal(t, nil)
	ctx := t.Context()
	org := must[client.Organization](t)(r.CreateOrganization(ctx, "second", "the second"))
	if again := must[client.Organization](t)(r.OrganizationByName(ctx, "second")); again != org || org.CreatedAt.IsZero() {
		t.Errorf("created %+v, found %+v", org, again)
	}
	name := "renamed"
	must[client.Organization](t)(r.UpdateOrganization(ctx, org.ID, client.OrganizationUpdate{Name: &name}))
	if o := must[client.Organization](t)(r.Organization(ctx, org.ID)); o.Name != name || o.Description != "the second" {
		t.Errorf("renamed to %+v", o)
	}
	if list := must[[]client.Organization](t)(r.Organizations(ctx)); len(list) != 2 {
		t.Errorf("there are %+v", list)
	}
	_, err := r.OrganizationByName(ctx, "second")
	isCode(t, err, client.ErrNotFound)

	user := must[client.User](t)(r.CreateUser(ctx, "ann"))
	check(t, r.AddMember(ctx, org.ID, user.ID, client.RoleMember))
	members := must[[]client.Member](t)(r.Members(ctx, org.ID))
	if i := slices.IndexFunc(members, func(m client.Member) bool { return m.ID == user.ID }); i < 0 || members[i].Role != client.RoleMember || members[i].Name != "ann" {
		t.Errorf("members %+v", members)
	}
	check(t, r.RemoveMember(ctx, org.ID, user.ID, client.RoleMember))
	if members := must[[]client.Member](t)(r.Members(ctx, org.ID)); len(members) != 1 {
		t.Errorf("members %+v", members)
	}
	check(t, r.DeleteOrganization(ctx, org.ID))
	isCode(t, r.DeleteOrganization(ctx, org.ID), client.ErrNotFound)
}

func TestServerUsersAndTokens(t *testing.T) {
	r := newReal(t, nil)
	ctx := t.Context()
	user := must[client.User](t)(r.CreateUser(ctx, "ann"))
	check(t, r.SetPassword(ctx, user.ID, "battery staple"))
	isCode(t, r.SetPassword(ctx, user.ID, "short"), client.ErrInvalid)
	inactive, name := client.Inactive, "anna"
	u := must[client.User](t)(r.UpdateUser(ctx, user.ID, client.UserUpdate{Name: &name, Status: &inactive}))
	if u.Name != "anna" || u.Status != client.Inactive {
		t.Errorf("updated to %+v", u)
	}
	if found := must[client.User](t)(r.UserByName(ctx, "anna")); found != u {
		t.Errorf("found %+v", found)
	}
	check(t, r.DeleteUser(ctx, user.ID))
	_, err := r.User(ctx, user.ID)
	isCode(t, err, client.ErrNotFound)

	check(t, r.SetSecrets(ctx, r.org, map[string]string{"db_password": "1", "other": "2"}))
	// The server's clock is the kit's.
	expires := r.kit.Clock.Now().Add(time.Hour).Truncate(time.Second).UTC()
	made := must[client.Token](t)(r.CreateToken(ctx, client.NewToken{
		OrgID: r.org, Description: "reader", Permissions: client.SecretPermissions(r.org, client.Read),
		ExpiresAt: expires, Names: []string{"db_*"},
	}))
	if !made.ExpiresAt.Equal(expires) || !slices.Equal(made.Names, []string{"db_*"}) || made.Status != client.Active {
		t.Errorf("made %+v", made)
	}
	reader := r.as(t, made.Token)
	if names := must[[]string](t)(reader.SecretNames(ctx, r.org)); !slices.Equal(names, []string{"db_password"}) {
		t.Errorf("the token sees %q", names)
	}
	isCode(t, reader.SetSecrets(ctx, r.org, map[string]string{"db_password": "x"}), client.ErrUnauthorized)
	must[client.Token](t)(r.UpdateToken(ctx, made.ID, client.TokenUpdate{Status: &inactive}))
	_, err = reader.SecretNames(ctx, r.org)
	isCode(t, err, client.ErrNotFound) // it may not even read the organization
	if one := must[client.Token](t)(r.Token(ctx, made.ID)); one.Token != "" || one.Status != client.Inactive {
		t.Errorf("read %+v", one)
	}
	if list := must[[]client.Token](t)(r.Tokens(ctx, client.TokenFilter{OrgID: r.org})); len(list) != 2 {
		t.Errorf("there are %d tokens", len(list))
	}
	check(t, r.DeleteToken(ctx, made.ID))
	_, err = reader.Me(ctx)
	isCode(t, err, client.ErrUnauthorized)
	if types := must[[]string](t)(r.ResourceTypes(ctx)); !slices.Contains(types, "secrets") {
		t.Errorf("types %q", types)
	}
}

func TestServerSecrets(t *testing.T) {
	r := newReal(t, nil)
	ctx := t.Context()
	values := func(want map[string]string) client.Values {
		t.Helper()
		v, changed, err := r.Values(ctx, r.org, nil)
		if err != nil || !changed || !maps.Equal(v.Secrets, want) {
			t.Fatalf("values %q, %v; want %q", v.Secrets, err, want)
		}
		return v
	}
	names := []string{"a", "with/slash", "...", "ü😀 +%2F", "values"}
	secrets := make(map[string]string)
	for i, n := range names {
		secrets[n] = fmt.Sprint("<v&", i, ">\n")
	}
	check(t, r.SetSecrets(ctx, r.org, secrets))
	first := values(secrets)
	if got := must[[]string](t)(r.SecretNames(ctx, r.org)); len(got) != len(names) {
		t.Errorf("names %q", got)
	}
	for _, n := range names[1:] {
		check(t, r.DeleteSecret(ctx, r.org, n))
	}
	values(map[string]string{"a": secrets["a"]})

	// A write with an old ETag is refused; one with the current ETag succeeds.
	_, err := r.WriteValues(ctx, r.org, map[string]*string{"a": nil}, &client.WriteOptions{IfMatch: first.ETag})
	isCode(t, err, client.ErrChanged)
	now := values(map[string]string{"a": secrets["a"]})
	two := "2"
	w := must[client.WriteResult](t)(r.WriteValues(ctx, r.org, map[string]*string{"a": nil, "b": &two}, &client.WriteOptions{IfMatch: now.ETag}))
	if !w.Changed || w.Version != 6 {
		t.Errorf("written %+v", w)
	}
	w = must[client.WriteResult](t)(r.ReplaceValues(ctx, r.org, map[string]string{"b": "2"}, nil))
	if w.Changed || w.Version != 6 {
		t.Errorf("written %+v", w)
	}
	must[client.WriteResult](t)(r.ReplaceValues(ctx, r.org, map[string]string{"c": "3"}, nil))
	values(map[string]string{"c": "3"})
	check(t, r.DeleteSecrets(ctx, r.org, "c", "never"))
	values(map[string]string{})

	history := must[[]client.Version](t)(r.History(ctx, r.org))
	last := history[0]
	if last.Number != 8 || !slices.Equal(last.Removed, []string{"c"}) || last.Count != 0 || last.UserID != r.kit.Admin.String() || last.Protocol != "influxdb" {
		t.Errorf("the last version is %+v", last)
	}
	w = must[client.WriteResult](t)(r.Rollback(ctx, r.org, 1))
	if !w.Changed || w.Version != 9 {
		t.Errorf("rolled back: %+v", w)
	}
	values(secrets)
	if h := must[[]client.Version](t)(r.History(ctx, r.org)); h[0].RolledBackTo != 1 {
		t.Errorf("the last version is %+v", h[0])
	}
	_, err = r.Rollback(ctx, r.org, 99)
	isCode(t, err, client.ErrNotFound)
	isCode(t, r.Unpin(ctx, r.org, 1), client.ErrNotFound)

	// A version pinned by a write to the address for influxd.
	caller := r.kit.Operator(t, keep.Influxd)
	if _, err := r.kit.Change(ctx, caller, r.kit.Org, keep.Change{Set: map[string]string{"only": "this"}, Replace: true, Guard: true}); err != nil {
		t.Fatal(err)
	}
	h := must[[]client.Version](t)(r.History(ctx, r.org))
	if !h[1].Pinned || h[1].Number != 9 {
		t.Errorf("the previous version is %+v", h[1])
	}
	check(t, r.Unpin(ctx, r.org, 9))
}

// TestServerNames requests some names, and waits for one of them.
func TestServerNames(t *testing.T) {
	r := newReal(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	check(t, r.SetSecrets(ctx, r.org, map[string]string{"a": "1", "b": "2"}))
	v, _, err := r.Values(ctx, r.org, &client.ValuesQuery{Names: []string{"a", "none"}})
	if err != nil || !maps.Equal(v.Secrets, map[string]string{"a": "1"}) {
		t.Fatalf("got %v, %v", v, err)
	}
	same, changed, err := r.Values(ctx, r.org, &client.ValuesQuery{Names: []string{"none", "a"}, ETag: v.ETag, Wait: time.Second})
	if err != nil || changed || same.ETag != v.ETag {
		t.Errorf("nothing has changed: %v, %v, %v", same, changed, err)
	}
	seen := make(chan string, 9)
	end := make(chan error)
	go func() {
		end <- r.Watch(ctx, r.org, &client.WatchOptions{Names: []string{"a"}, Known: &v}, func(v client.Values) error {
			seen <- v.Secrets["a"]
			if v.Secrets["a"] == "" {
				return http.ErrServerClosed
			}
			return nil
		})
	}()
	check(t, r.SetSecrets(ctx, r.org, map[string]string{"b": "3"}))
	check(t, r.SetSecrets(ctx, r.org, map[string]string{"a": "4"}))
	if got := <-seen; got != "4" {
		t.Errorf("saw %q", got)
	}
	check(t, r.DeleteSecret(ctx, r.org, "a"))
	if got := <-seen; got != "" {
		t.Errorf("saw %q", got)
	}
	if err := <-end; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestServerSecretService(t *testing.T) {
	r := newReal(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	check(t, r.SetSecrets(ctx, r.org, map[string]string{"a": "1"}))
	s := r.SecretService(r.org, &client.SecretServiceOptions{MaxAge: time.Hour})
	load := func() string { return must[string](t)(s.LoadSecret(ctx, "a")) }
	if v := load(); v != "1" {
		t.Errorf("a is %q", v)
	}
	changes := make(chan struct{}, 9)
	go func() { _ = s.Watch(ctx, func() { changes <- struct{}{} }) }()
	check(t, r.SetSecrets(ctx, r.org, map[string]string{"a": "2"}))
	<-changes
	if v := load(); v != "2" {
		t.Errorf("a is %q after the change", v)
	}
	_, err := s.LoadSecret(ctx, "none")
	isCode(t, err, client.ErrNotFound)
}
