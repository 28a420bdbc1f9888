package keep_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

func TestSetupOnce(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Fresh: true})
	nobody := keep.Anonymous(keeptest.Origin(keep.InfluxDB))
	q := keep.SetupRequest{User: "ann", Password: "battery staple", Org: "acme", Bucket: "b", Retention: time.Hour}
	for _, c := range []struct {
		name   string
		change func(*keep.SetupRequest)
		code   keep.Code
	}{
		{"no user", func(q *keep.SetupRequest) { q.User = "" }, keep.CodeUnprocessable},
		{"no organization", func(q *keep.SetupRequest) { q.Org = "" }, keep.CodeUnprocessable},
		{"blank organization", func(q *keep.SetupRequest) { q.Org = " " }, keep.CodeInvalid},
		{"short password", func(q *keep.SetupRequest) { q.Password = "short" }, keep.CodeInvalid},
		{"token with a line feed", func(q *keep.SetupRequest) { q.Token = "tok\n" }, keep.CodeInvalid},
		{"token with space after it", func(q *keep.SetupRequest) { q.Token = "tok " }, keep.CodeInvalid},
		{"token with space before it", func(q *keep.SetupRequest) { q.Token = "\u00a0tok" }, keep.CodeInvalid},
		{"token with a control character", func(q *keep.SetupRequest) { q.Token = "t\x7fok" }, keep.CodeInvalid},
		{"long token", func(q *keep.SetupRequest) { q.Token = strings.Repeat("x", 1025) }, keep.CodeInvalid},
		{"colon in the user", func(q *keep.SetupRequest) { q.User = "a:b" }, keep.CodeInvalid},
		{"reserved bucket", func(q *keep.SetupRequest) { q.Bucket = "_b" }, keep.CodeInvalid},
		{"quoted bucket", func(q *keep.SetupRequest) { q.Bucket = `b"` }, keep.CodeInvalid},
		{"short retention", func(q *keep.SetupRequest) { q.Retention = time.Hour - 1 }, keep.CodeInvalid},
		{"negative retention", func(q *keep.SetupRequest) { q.Retention = -time.Hour }, keep.CodeInvalid},
		{"long password", func(q *keep.SetupRequest) { q.Password = strings.Repeat("x", 73) }, keep.CodeInvalid},
	} {
		bad := q
		c.change(&bad)
		if _, err := k.Setup(t.Context(), nobody, bad); keep.CodeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
		if allowed, err := k.SetupAllowed(t.Context()); !allowed || err != nil {
			t.Fatalf("%s left something behind: %v, %v", c.name, allowed, err)
		}
	}
	r, err := k.Setup(t.Context(), nobody, q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Setup(t.Context(), nobody, q); keep.CodeOf(err) != keep.CodeConflict {
		t.Errorf("a second time: %v", err)
	}
	k.Reopen(t)
	c := k.MustCaller(t, keep.InfluxDB, r.Token.Value)
	if !c.Operator() || c.User != r.User.ID {
		t.Errorf("the token is of user %v, operator: %v", c.User, c.Operator())
	}
	k.CheckHidden(t, []string{r.Token.Value, q.Password}, []string{"acme"})
}

// TestSetupStaysClosed checks that a server without users and organizations can't be
// set up again.
func TestSetupStaysClosed(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.InfluxDB)
	if err := k.DeleteOrganization(ctx, op, k.Org); err != nil {
		t.Fatal(err)
	}
	if err := k.DeleteUser(ctx, op, k.Admin); err != nil {
		t.Fatal(err)
	}
	k.Reopen(t)
	if allowed, err := k.SetupAllowed(ctx); allowed || err != nil {
		t.Errorf("setup is allowed: %v, %v", allowed, err)
	}
	q := keep.SetupRequest{User: "ann", Org: "acme", Bucket: "b"}
	if _, err := k.Setup(ctx, keep.Anonymous(keeptest.Origin(keep.InfluxDB)), q); keep.CodeOf(err) != keep.CodeConflict {
		t.Errorf("set up again: %v", err)
	}
	r, err := keep.Check(ctx, k.Store(), k.Keys(), nil, func(d keep.Damage) { t.Errorf("%s: %v", d.What, d.Err) })
	if err != nil || r.Users != 0 {
		t.Errorf("checked: %+v, %v", r, err)
	}
}

func TestUnknownTokenByID(t *testing.T) {
	k := keeptest.New(t, nil)
	f := keep.TokenFilter{ID: 0xdeadbeef}
	if _, err := k.Tokens(t.Context(), k.Operator(t, keep.InfluxDB), f); !errors.Is(err, keep.ErrTokenNotFound) {
		t.Errorf("with permission to read all: %v", err)
	}
	reader := k.MustCaller(t, keep.InfluxDB, k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)}).Value)
	if tokens, err := k.Tokens(t.Context(), reader, f); err != nil || len(tokens) > 0 {
		t.Errorf("without permission: got %v, %v", tokens, err)
	}
	f.ID = k.Operator(t, keep.InfluxDB).Token
	if tokens, err := k.Tokens(t.Context(), reader, f); err != nil || len(tokens) > 0 {
		t.Errorf("an existing token: got %v, %v", tokens, err)
	}
}

// TestListsAreInOrder checks that users and tokens are listed in order of creation, and
// that those created in the same moment have different IDs.
func TestListsAreInOrder(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.InfluxDB)
	want := []string{"admin"}
	for i := range 20 {
		k.Clock.Advance(time.Microsecond)
		want = append(want, fmt.Sprintf("user %d", (i*7)%20))
		if _, err := k.CreateUser(ctx, op, want[i+1], true); err != nil {
			t.Fatal(err)
		}
	}
	names := func(page keep.Page) (names []string) {
		t.Helper()
		users, err := k.Users(ctx, op, keep.UserFilter{Page: page})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range users {
			names = append(names, u.Name)
		}
		return names
	}
	if got := names(keep.Page{}); !slices.Equal(got, want) {
		t.Errorf("listed as %q, created as %q", got, want)
	}
	if got := names(keep.Page{Descending: true, Limit: 1}); !slices.Equal(got, want[20:]) {
		t.Errorf("the last is %q", got)
	}
	moment := k.Clock.Now()
	for i := range 300 { // enough for a collision of random numbers
		k.Clock.Advance(moment.Sub(k.Clock.Now()))
		if _, err := k.CreateUser(ctx, op, fmt.Sprintf("twin %d", i), true); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(keep.Page{}); len(got) != 321 {
		t.Errorf("%d users of 321 are left", len(got))
	}
}

func TestTokenLife(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.InfluxDB)
	origin := keeptest.Origin(keep.InfluxDB)
	token := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Expires: k.Clock.Now().Add(time.Hour)})
	if found, err := k.Token(ctx, op, token.ID); err != nil || found.Value != "" {
		t.Errorf("the token is shown a second time: %q, %v", found.Value, err)
	}
	no := false
	if _, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &no}); err != nil {
		t.Fatal(err)
	}
	c := k.MustCaller(t, keep.InfluxDB, token.Value)
	if _, err := k.Organization(ctx, c, k.Org); !errors.Is(err, keep.ErrTokenInactive) {
		t.Errorf("an inactive token: %v", err)
	}
	yes := true
	if _, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &yes}); err != nil {
		t.Fatal(err)
	}
	c = k.MustCaller(t, keep.InfluxDB, token.Value)
	if _, err := k.SecretNames(ctx, c, k.Org); err != nil {
		t.Errorf("active again: %v", err)
	}
	k.Clock.Advance(time.Hour)
	if _, err := k.Authenticate(ctx, origin, token.Value); !errors.Is(err, keep.ErrUnauthenticated) {
		t.Errorf("an expired token: %v", err)
	}
	if err := k.DeleteToken(ctx, op, token.ID); err != nil {
		t.Fatal(err)
	}
	if err := k.DeleteToken(ctx, op, token.ID); !errors.Is(err, keep.ErrTokenNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestTokenGivesNoMoreThanItHas(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	perms := append(keeptest.ReadSecrets(k.Org),
		acl.Permission{Action: acl.Write, Resource: acl.Resource{Type: acl.Authorizations, OrgID: k.Org}},
		acl.Permission{Action: acl.Write, Resource: acl.Resource{Type: acl.Users, ID: k.Admin}})
	soon := k.Clock.Now().Add(time.Hour)
	limited := k.MustCaller(t, keep.InfluxDB, k.MustToken(t, keep.NewToken{Permissions: perms, Names: []string{"a*"}, Expires: soon}).Value)
	for _, c := range []struct {
		name string
		n    keep.NewToken
		code keep.Code
	}{
		{"the same", keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Names: []string{"a*"}, Expires: soon}, ""},
		{"more rights", keep.NewToken{Permissions: keeptest.WriteSecrets(k.Org), Names: []string{"a*"}, Expires: soon}, keep.CodeForbidden},
		{"more names", keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Names: []string{"*"}, Expires: soon}, keep.CodeForbidden},
		{"all names", keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Expires: soon}, keep.CodeForbidden},
		{"more time", keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Names: []string{"a*"}, Expires: soon.Add(1)}, keep.CodeForbidden},
		{"for ever", keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Names: []string{"a*"}}, keep.CodeForbidden},
		{"instance", keep.NewToken{Permissions: acl.Everything(), Names: []string{"a*"}, Expires: soon}, keep.CodeForbidden},
	} {
		c.n.Org, c.n.Active = k.Org, true
		if _, err := k.CreateToken(ctx, limited, c.n); (err == nil) != (c.code == "") || (err != nil && keep.CodeOf(err) != c.code) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestSessions(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	origin := keeptest.Origin(keep.InfluxDB)
	op := k.Operator(t, keep.InfluxDB)
	ann := mustUser(t, k, "ann", "battery staple 1")
	signIn := func(password string) string {
		t.Helper()
		s, err := k.SignIn(ctx, keep.Anonymous(origin), "ann", password)
		if err != nil {
			t.Fatal(err)
		}
		return s.Key
	}
	works := func(what, key string, want error) {
		t.Helper()
		if _, err := k.AuthenticateSession(ctx, origin, key); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	for what, try := range map[string][2]string{"wrong password": {"ann", "wrong"}, "no such user": {"bob", "wrong"}, "no password": {"ann", ""}} {
		if _, err := k.SignIn(ctx, keep.Anonymous(origin), try[0], try[1]); !errors.Is(err, keep.ErrUnauthenticated) {
			t.Errorf("%s: %v", what, err)
		}
	}
	s := signIn("battery staple 1")
	works("new session", s, nil)
	works("made-up session", "x", keep.ErrUnauthenticated)

	k.Clock.Advance(58 * time.Minute)
	works("near its end", s, nil) // which renews it
	k.Clock.Advance(4 * time.Minute)
	works("renewed", s, nil)
	k.Clock.Advance(6 * time.Minute)
	works("expired", s, keep.ErrUnauthenticated)

	s = signIn("battery staple 1")
	if err := k.SignOut(ctx, keep.Anonymous(origin), s); err != nil {
		t.Fatal(err)
	}
	works("signed out", s, keep.ErrUnauthenticated)

	s = signIn("battery staple 1")
	elsewhere := signIn("battery staple 1")
	c, err := k.AuthenticateSession(ctx, origin, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.ChangePassword(ctx, c, ann, "wrong", "battery staple 2"); err == nil {
		t.Error("the password was changed without the old one")
	}
	works("after a refused change", s, nil)
	if err := k.ChangePassword(ctx, c, ann, "battery staple 1", "battery staple 2"); err != nil {
		t.Fatal(err)
	}
	works("which changed the password", s, nil)
	works("elsewhere, after a password change", elsewhere, keep.ErrUnauthenticated)
	if err := k.SetPassword(ctx, op, ann, "battery staple 3"); err != nil {
		t.Fatal(err)
	}
	works("after the password was set", s, keep.ErrUnauthenticated)

	s = signIn("battery staple 3")
	no := false
	if _, err := k.UpdateUser(ctx, op, ann, keep.UserUpdate{Active: &no}); err != nil {
		t.Fatal(err)
	}
	works("inactive user", s, keep.ErrUserInactive)
	works("inactive user, signed in since", signIn("battery staple 3"), keep.ErrUserInactive)
	if err := k.DeleteUser(ctx, op, ann); err != nil {
		t.Fatal(err)
	}
	works("deleted user", s, keep.ErrUserInactive)
	if _, err := k.SignIn(ctx, keep.Anonymous(origin), "ann", "battery staple 3"); !errors.Is(err, keep.ErrUnauthenticated) {
		t.Errorf("a deleted user signs in: %v", err)
	}
	if err := k.SignOut(ctx, keep.Anonymous(origin), s); err != nil {
		t.Errorf("a deleted user signs out: %v", err)
	}
	k.Clock.Advance(2 * time.Hour)
	works("deleted user, later", s, keep.ErrUnauthenticated)
}

// TestSessionRights checks that a session has the rights of the user's memberships, of
// the user's own account, and of the user's active tokens without limits, and that each
// right ends with its source.
func TestSessionRights(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx, op, origin := t.Context(), k.Operator(t, keep.InfluxDB), keeptest.Origin(keep.InfluxDB)
	ann := mustUser(t, k, "ann", "battery staple 1")
	s, err := k.SignIn(ctx, keep.Anonymous(origin), "ann", "battery staple 1")
	if err != nil {
		t.Fatal(err)
	}
	has := func(when string, read, write, self bool) {
		t.Helper()
		c, err := k.AuthenticateSession(ctx, origin, s.Key)
		if err != nil {
			t.Fatal(err)
		}
		_, readErr := k.SecretNames(ctx, c, k.Org)
		_, writeErr := k.Change(ctx, c, k.Org, set("a", when))
		_, selfErr := k.Me(ctx, c)
		if (readErr == nil) != read || (writeErr == nil) != write || (selfErr == nil) != self {
			t.Errorf("%s: it reads %v, writes %v, and its own account %v", when, readErr, writeErr, selfErr)
		}
	}
	token := func(n keep.NewToken) keep.Token {
		n.User, n.Permissions = ann, keeptest.WriteSecrets(k.Org)
		return k.MustToken(t, n)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	has("nothing", false, false, true)
	_, err = k.AddMember(ctx, op, k.Org, ann, keep.Owner)
	must(err)
	has("an owner", true, true, true)
	must(k.RemoveMember(ctx, op, k.Org, ann))
	has("an owner who was removed", false, false, true)
	_, err = k.AddMember(ctx, op, k.Org, ann, keep.Member)
	must(err)
	has("a member", true, false, true)
	must(k.RemoveMember(ctx, op, k.Org, ann))

	token(keep.NewToken{Names: []string{"a"}})
	token(keep.NewToken{Expires: k.Clock.Now().Add(time.Hour)})
	has("limited tokens", false, false, true)
	made := token(keep.NewToken{})
	has("a token that somebody else made in the user's name", true, true, true)
	off, on := false, true
	_, err = k.UpdateToken(ctx, op, made.ID, keep.TokenUpdate{Active: &off})
	must(err)
	has("a token that is switched off", false, false, true)
	_, err = k.UpdateToken(ctx, op, made.ID, keep.TokenUpdate{Active: &on})
	must(err)
	_, err = k.Login(ctx, keep.Anonymous(keeptest.Origin(keep.Vault)), made.ID.String(), made.Value)
	must(err)
	must(k.DeleteToken(ctx, op, made.ID))
	has("a login token of a deleted token", false, false, true)
}

// TestExpiredAreRemoved checks that the records of ended sessions and login tokens are
// removed, and all others remain.
func TestExpiredAreRemoved(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	origin := keeptest.Origin(keep.InfluxDB)
	mustUser(t, k, "ann", "battery staple 1")
	token := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	begin := func() (session, login string) {
		t.Helper()
		s, err := k.SignIn(ctx, keep.Anonymous(origin), "ann", "battery staple 1")
		if err != nil {
			t.Fatal(err)
		}
		l, err := k.Login(ctx, keep.Anonymous(origin), token.ID.String(), token.Value)
		if err != nil {
			t.Fatal(err)
		}
		return s.Key, l.Value
	}
	const sessions, sessionsOf, tokens, tokenHashes = 'e', 'E', 't', 'T'
	count := func() [4]int {
		return [4]int{records(t, k, sessions), records(t, k, sessionsOf), records(t, k, tokens), records(t, k, tokenHashes)}
	}
	begin()
	k.Clock.Advance(40 * time.Minute)
	session, login := begin()
	for _, c := range []struct {
		after time.Duration
		want  [4]int // the operator's token and this test's token always remain
	}{{0, [4]int{2, 2, 4, 4}}, {30 * time.Minute, [4]int{1, 1, 3, 3}}, {time.Hour, [4]int{0, 0, 2, 2}}} {
		k.Clock.Advance(c.after)
		if err := k.RemoveExpired(ctx); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != c.want {
			t.Errorf("%v later: %v records, want %v", c.after, got, c.want)
		}
		if c.want[0] != 1 {
			continue
		}
		if _, err := k.AuthenticateSession(ctx, origin, session); err != nil {
			t.Errorf("the later session: %v", err)
		}
		k.MustCaller(t, keep.Vault, login)
	}
}

func TestSignInIsLimited(t *testing.T) {
	k := keeptest.New(t, nil)
	limited := false
	for range 30 {
		_, err := k.SignIn(t.Context(), keep.Anonymous(keeptest.Origin(keep.InfluxDB)), "admin", "guess")
		var e *keep.Error
		if errors.As(err, &e) && e.Code == keep.CodeTooMany {
			limited = e.RetryAfter > 0
			break
		}
	}
	if !limited {
		t.Error("all of 30 guesses at once were tried")
	}
	k.Clock.Advance(time.Minute)
	if _, err := k.SignIn(t.Context(), keep.Anonymous(keeptest.Origin(keep.InfluxDB)), "admin", k.Password); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

func TestMembership(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.InfluxDB)
	ann := mustUser(t, k, "ann", "battery staple 1")
	s, err := k.SignIn(ctx, keep.Anonymous(keeptest.Origin(keep.InfluxDB)), "ann", "battery staple 1")
	if err != nil {
		t.Fatal(err)
	}
	may := func(what string, read, write bool) {
		t.Helper()
		c, err := k.AuthenticateSession(ctx, keeptest.Origin(keep.InfluxDB), s.Key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.SecretNames(ctx, c, k.Org); (err == nil) != read {
			t.Errorf("%s: reading: %v", what, err)
		}
		if _, err := k.Change(ctx, c, k.Org, set("k", what)); (err == nil) != write {
			t.Errorf("%s: writing: %v", what, err)
		}
	}
	may("stranger", false, false)
	if _, err := k.AddMember(ctx, op, k.Org, ann, keep.Member); err != nil {
		t.Fatal(err)
	}
	may("member", true, false)
	if _, err := k.AddMember(ctx, op, k.Org, ann, keep.Owner); keep.CodeOf(err) != keep.CodeConflict {
		t.Errorf("a second role: %v", err)
	}
	if err := k.RemoveMember(ctx, op, k.Org, ann); err != nil {
		t.Fatal(err)
	}
	may("former member", false, false)
	if _, err := k.AddMember(ctx, op, k.Org, ann, keep.Owner); err != nil {
		t.Fatal(err)
	}
	may("owner", true, true)
	if users, err := k.Members(ctx, op, k.Org, keep.Owner); err != nil || len(users) != 2 {
		t.Errorf("owners are %v, %v", users, err)
	}
	if err := k.DeleteOrganization(ctx, op, k.Org); err != nil {
		t.Fatal(err)
	}
	may("owner of a deleted organization", false, false)
}

func TestLogin(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.InfluxDB)
	origin := keeptest.Origin(keep.Vault)
	k.MustChange(t, set("a", "1"))
	parent := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Expires: k.Clock.Now().Add(90 * time.Minute)})
	for what, try := range map[string][2]string{
		"wrong token": {parent.ID.String(), "nope"}, "wrong ID": {"0000000000000001", parent.Value}, "another's": {parent.ID.String(), k.OperatorToken},
	} {
		if _, err := k.Login(ctx, keep.Anonymous(origin), try[0], try[1]); !errors.Is(err, keep.ErrUnauthenticated) {
			t.Errorf("%s: %v", what, err)
		}
	}
	login, err := k.Login(ctx, keep.Anonymous(origin), parent.ID.String(), parent.Value)
	if err != nil {
		t.Fatal(err)
	}
	reads := func(what string, want error) {
		t.Helper()
		c, err := k.Authenticate(ctx, origin, login.Value)
		if err == nil {
			_, err = k.Document(ctx, c, k.Org, 0)
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	reads("new", nil)
	writer := k.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(k.Org)})
	other, err := k.Login(ctx, keep.Anonymous(origin), writer.ID.String(), writer.Value)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Change(ctx, k.MustCaller(t, keep.Vault, other.Value), k.Org, set("by", "a login token")); err != nil {
		t.Fatal(err)
	}
	if h, err := k.History(ctx, op, k.Org); err != nil || h[0].Token != writer.ID {
		t.Errorf("the version's author is token %v, %v; want the one that was used to log in", h[0].Token, err)
	}
	if tokens, err := k.Tokens(ctx, op, keep.TokenFilter{}); err != nil || len(tokens) != 3 {
		t.Errorf("%d tokens are listed, %v", len(tokens), err)
	}
	k.Clock.Advance(50 * time.Minute)
	again, err := k.RenewLogin(ctx, k.MustCaller(t, keep.Vault, login.Value))
	if err != nil {
		t.Fatal(err)
	}
	if left := again.Length; left > 41*time.Minute || left < 39*time.Minute {
		t.Errorf("renewed for %v, but its parent expires in 40 minutes", left)
	}
	k.Clock.Advance(30 * time.Minute)
	reads("renewed", nil)
	if err := k.DeleteToken(ctx, op, parent.ID); err != nil {
		t.Fatal(err)
	}
	reads("after its parent", keep.ErrUnauthenticated)
}

// TestRefusalsTellNothing compares the answers about existing and missing objects to a
// caller who can't read them.
func TestRefusalsTellNothing(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.InfluxDB)
	other, err := k.CreateOrganization(ctx, op, "other", "")
	if err != nil {
		t.Fatal(err)
	}
	hidden := k.MustToken(t, keep.NewToken{Org: other.ID, Permissions: keeptest.ReadSecrets(other.ID)})
	reader := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	neighbor := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	ann := mustUser(t, k, "ann", "battery staple 1")
	owner := k.MustCaller(t, keep.InfluxDB, k.MustToken(t, keep.NewToken{Permissions: acl.Owner(k.Org)}).Value)
	for _, protocol := range []keep.Protocol{keep.InfluxDB, keep.Vault} {
		c := k.MustCaller(t, protocol, reader.Value)
		const unknown = keep.ID(0x77)
		told := func(v any, err error) string {
			if err != nil {
				text := err.Error()
				for _, id := range []keep.ID{unknown, other.ID, ann} {
					text = strings.ReplaceAll(text, id.String(), "ID")
				}
				return text
			}
			return "allowed"
		}
		for what, ask := range map[string]func(exists bool) string{
			"secrets": func(e bool) string { return told(k.SecretNames(ctx, c, pick(e, other.ID, unknown))) },
			"values":  func(e bool) string { return told(k.Values(ctx, c, pick(e, other.ID, unknown), nil, "")) },
			"write":   func(e bool) string { return told(k.Change(ctx, c, pick(e, other.ID, unknown), set("a", "b"))) },
			"org":     func(e bool) string { return told(k.Organization(ctx, c, pick(e, other.ID, unknown))) },
			"org by name": func(e bool) string {
				return told(k.Organizations(ctx, c, keep.OrganizationFilter{Name: pick(e, "other", "unknown")}))
			},
			"org by ID": func(e bool) string {
				return told(k.Organizations(ctx, c, keep.OrganizationFilter{ID: pick(e, other.ID, unknown)}))
			},
			"members": func(e bool) string { return told(k.Members(ctx, c, pick(e, other.ID, unknown), keep.Owner)) },
			"user by name": func(e bool) string {
				return told(k.Users(ctx, c, keep.UserFilter{Name: pick(e, "admin", "unknown")}))
			},
			"token":                 func(e bool) string { return told(k.Token(ctx, c, pick(e, hidden.ID, unknown))) },
			"token of the same org": func(e bool) string { return told(k.Token(ctx, c, pick(e, neighbor.ID, unknown))) },
			"change a token": func(e bool) string {
				return told(k.UpdateToken(ctx, c, pick(e, neighbor.ID, unknown), keep.TokenUpdate{}))
			},
			"delete a token": func(e bool) string {
				return told(nil, k.DeleteToken(ctx, c, pick(e, neighbor.ID, unknown)))
			},
			"user": func(e bool) string { return told(k.User(ctx, c, pick(e, ann, unknown))) },
			"add a member": func(e bool) string {
				return told(k.AddMember(ctx, owner, k.Org, pick(e, ann, unknown), keep.Member))
			},
			"tokens of an org": func(e bool) string {
				return told(k.Tokens(ctx, c, keep.TokenFilter{OrgName: pick(e, "other", "unknown")}))
			},
			"tokens of a user": func(e bool) string {
				return told(k.Tokens(ctx, c, keep.TokenFilter{UserName: pick(e, "admin", "unknown")}))
			},
		} {
			if there, not := ask(true), ask(false); there != not {
				t.Errorf("%s, %s: %q when it exists, %q when not", protocol, what, there, not)
			}
		}
	}
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// TestEveryAccessIsAudited counts the audit records of each kind of call.
func TestEveryAccessIsAudited(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	op := k.Operator(t, keep.InfluxDB)
	k.MustChange(t, set("canary-name", "canary-value"))
	_, err := k.SecretNames(ctx, op, k.Org)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Document(ctx, op, k.Org, 0); err != nil {
		t.Fatal(err)
	}
	reader := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	if _, err := k.Change(ctx, k.MustCaller(t, keep.InfluxDB, reader.Value), k.Org, set("x", "y")); err == nil {
		t.Fatal("a reader wrote")
	}
	if _, err := k.Authenticate(ctx, keeptest.Origin(keep.InfluxDB), "wrong"); err == nil {
		t.Fatal("a wrong token identifies a caller")
	}
	report := k.CheckAudit(t)
	if report.Lines != 7 { // setup, change, list, read, token, refused change, refused token
		t.Errorf("%d lines: %+v", report.Lines, report)
	}
	k.CheckHidden(t, []string{"canary-value", k.OperatorToken, reader.Value, k.Password}, []string{"canary-name"})
}
