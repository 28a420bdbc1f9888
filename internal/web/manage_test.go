package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/web"
)

// text returns the text of the element with an ID.
func (p *page) text(id string) string {
	for _, tag := range []string{"pre", "p", "dd"} {
		for _, n := range p.all(tag) {
			if attr(n, "id") == id && n.FirstChild != nil {
				return n.FirstChild.Data
			}
		}
	}
	return ""
}

func (p *page) wantText(t *testing.T, parts ...string) {
	t.Helper()
	text := p.main()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s doesn't show %q: %s", p.path, part, text)
		}
	}
}

// A token is created by recipe, shown once, used, deactivated and deleted.
func TestTokenByRecipe(t *testing.T) {
	k := newKit(t, nil)
	k.MustChange(t, keep.Change{Set: map[string]string{"telegraf_key": "s3cret", "other": "s3cret"}})
	b := k.admin(t)
	b.get(k.path("/access")).wantText(t, "admin's Token", "everything, in all organizations", "moments ago · influxdb", "Deactivate")
	b.get(k.path("/access/new")).wantText(t, "influxd", "A CI job that writes", "Read-only for some names")
	b.get(k.path("/access/new?recipe=names")).wantText(t, "It may read secrets with names that match", "It can’t write secrets, manage tokens")

	fields := []string{"recipe", "names", "description", "telegraf", "names", "telegraf_*\n\n", "expires", "7", "once", "1"}
	made := b.post(k.path("/access/new"), fields...)
	value := made.text("token")
	if made.status != http.StatusOK || len(value) < 80 {
		t.Fatalf("a new token: %d %s", made.status, made.main())
	}
	made.wantText(t, "This token is shown once", "fluxkeep run --host")
	if strings.Count(made.body, value) != 1 {
		t.Error("the token is more than once in the page")
	}
	caller := k.MustCaller(t, keep.Vault, value)
	d, err := k.Values(t.Context(), caller, k.Org, nil, "")
	if err != nil || len(d.Secrets) != 1 || d.Secrets[0].Name != "telegraf_key" {
		t.Errorf("the token reads %v, %v", d.Secrets, err)
	}
	path := k.path("/access/" + caller.Token.String())

	// The same form again leads to the token's page, which doesn't have the token.
	again := b.follow(b.post(k.path("/access/new"), fields...))
	if strings.Contains(again.body, value) || !strings.HasPrefix(again.path, path) {
		t.Errorf("the form was sent twice, and then %s was shown", again.path)
	}
	again.wantText(t, "telegraf", "read secrets", "telegraf_*", "Expires in 6 days", "moments ago · vault")
	if tokens, err := k.Tokens(t.Context(), k.Operator(t, keep.InfluxDB), keep.TokenFilter{}); err != nil || len(tokens) != 2 {
		t.Errorf("there are %d tokens, %v", len(tokens), err)
	}

	b.follow(b.post(path+"/status", "status", "inactive")).wantText(t, "Programs that use it are refused", "Activate")
	if c := k.MustCaller(t, keep.Vault, value); c.Active() {
		t.Error("the token is active")
	}
	b.follow(b.post(path+"/status", "status", "active")).wantText(t, "The token is active")
	b.get(path+"/delete").wantText(t, "Delete the token telegraf?", "It was last used moments ago, through vault")
	b.follow(b.post(path+"/delete")).wantText(t, "The token was deleted")
	if p := b.get(path); p.status != http.StatusNotFound {
		t.Errorf("the page of a deleted token: %d", p.status)
	}
}

func TestNewTokenErrors(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	for name, c := range map[string]struct {
		fields []string
		status int
		text   string
	}{
		"no description":     {[]string{"recipe", "ci", "description", " ", "names", "", "expires", "90"}, 422, "Describe the token"},
		"no names":           {[]string{"recipe", "names", "description", "x", "names", " \n", "expires", "0"}, 422, "Enter at least one pattern"},
		"a pattern too long": {[]string{"recipe", "ci", "description", "x", "names", strings.Repeat("x", 1025), "expires", "0"}, 400, "Not created: A name pattern must have 1 to 1024 bytes."},
		"unknown recipe":     {[]string{"recipe", "x", "description", "x", "names", "", "expires", "0"}, 400, "Nothing was changed"},
		"unknown lifetime":   {[]string{"recipe", "ci", "description", "x", "names", "", "expires", "1"}, 400, "Nothing was changed"},
		"unexpected fields":  {[]string{"recipe", "ci", "description", "x", "expires", "0", "permissions", "all"}, 400, "Nothing was changed"},
	} {
		p := b.post(k.path("/access/new"), c.fields...)
		if p.status != c.status || !strings.Contains(p.main(), c.text) {
			t.Errorf("%s: %d %s", name, p.status, p.main())
		}
	}
	if tokens, err := k.Tokens(t.Context(), k.Operator(t, keep.InfluxDB), keep.TokenFilter{}); err != nil || len(tokens) != 1 {
		t.Errorf("there are %d tokens, %v", len(tokens), err)
	}
}

// TestProgress: the script can ask for the progress of long work without extending the
// session.
func TestProgress(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	ask := func() (int, string) {
		b.header.Set("Accept", "application/json")
		defer b.header.Del("Accept")
		p := b.get("/ui/server/progress")
		return p.status, p.body
	}
	const idle = `{"rotation":{"running":false,"done":0,"total":0},"backup":{"running":false,"done":0,"total":0},"verification":`
	if status, body := ask(); status != 200 || !strings.HasPrefix(body, idle) {
		t.Errorf("%d %s", status, body)
	}
	for minute := range 59 {
		k.Clock.Advance(time.Minute)
		if status, _ := ask(); status != 200 {
			t.Fatalf("after %d minutes: %d", minute+1, status)
		}
	}
	k.Clock.Advance(2 * time.Minute)
	if status, body := ask(); status != 401 {
		t.Errorf("after an hour of asking for progress: %d %s", status, body)
	}
}

func TestMembersAndUsers(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	made := b.follow(b.post("/ui/users", "name", "ann"))
	made.wantText(t, "The user was created", "ann", "none")
	user := strings.TrimSuffix(made.path, "?done=created")
	if p := b.post(user+"/password", "password", "battery staple 1", "repeat", "another one"); p.status != 422 {
		t.Errorf("two different passwords: %d", p.status)
	}
	if p := b.post(user+"/password", "password", "short", "repeat", "short"); p.status != 400 || !strings.Contains(p.main(), "between 8 and 72") {
		t.Errorf("a short password: %d %s", p.status, p.main())
	}
	b.follow(b.post(user+"/password", "password", "battery staple 1", "repeat", "battery staple 1")).wantText(t, "The password was set")

	for name, want := range map[string]string{"": "Enter the name of a user", "nobody": "There is no such user"} {
		if p := b.post(k.path("/members"), "name", name, "role", "member"); p.status != 422 || !strings.Contains(p.main(), want) {
			t.Errorf("adding %q: %d %s", name, p.status, p.main())
		}
	}
	b.follow(b.post(k.path("/members"), "name", "ann", "role", "owner")).wantText(t, "The user was added", "ann", "owner", "Remove")
	if p := b.post(k.path("/members"), "name", "ann", "role", "member"); p.status != http.StatusConflict || !strings.Contains(p.main(), "already an owner") {
		t.Errorf("adding a user twice: %d %s", p.status, p.main())
	}
	ann := k.browser(t)
	ann.signIn("ann", "battery staple 1")
	ann.get(k.path("/members")).wantText(t, "Remove")
	for _, path := range []string{"/ui/users", "/ui/server", "/ui/audit", "/ui/server/keys", "/ui/server/backup", user} {
		if p := ann.get(path); p.status != http.StatusNotFound {
			t.Errorf("an owner gets %s: %d", path, p.status)
		}
	}

	b.follow(b.post(user+"/status", "status", "inactive")).wantText(t, "inactive", "Activate")
	if p := ann.get(k.path("/secrets")); p.status == http.StatusOK {
		t.Error("an inactive user has a session")
	}
	b.follow(b.post(user+"/status", "status", "active"))
	id := user[strings.LastIndexByte(user, '/')+1:]
	b.follow(b.post(k.path("/members/"+id+"/remove"))).wantText(t, "The user was removed")
	b.get(user+"/delete").wantText(t, "Delete the user ann?")
	b.follow(b.post(user+"/delete")).wantText(t, "The user was deleted")
}

func TestAuditPages(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	k.MustChange(t, keep.Change{Set: map[string]string{"db_password": "1"}})
	k.MustChange(t, keep.Change{Set: map[string]string{"a": "1", "b": "1", "c": "1", "d": "1", "e": "1"}})
	b.get(k.path("/audit")).wantText(t, "secrets.write", "a, b, c and 2 more", "admin's Token · influxdb")
	b.get("/ui/audit").wantText(t, "Audit log of the server", "setup", "in an unbroken chain")
	p := b.post(k.path("/audit"), "secret", "db_password", "action", "secrets.*", "outcome", "allowed", "protocol", "", "actor", "", "since", "", "until", "")
	p.wantText(t, "db_password", `"action": "secrets.write"`)
	if strings.Contains(p.main(), "and 2 more") || p.header.Get("Content-Encoding") != "" {
		t.Errorf("the filter shows %s", p.main())
	}
	for field, text := range map[string]string{"since": "Enter a date", "until": "Enter a date", "actor": "There is no such user"} {
		if p := b.post("/ui/audit", field, "x"); p.status != 422 || !strings.Contains(p.main(), text) {
			t.Errorf("%s is wrong: %d %s", field, p.status, p.main())
		}
	}
	for range 120 {
		k.MustValues(t)
	}
	p = b.get("/ui/audit")
	p.wantText(t, "Older")
	var before string
	for _, n := range p.all("input") {
		if attr(n, "name") == "before" {
			before = attr(n, "value")
		}
	}
	older := b.post("/ui/audit", "before", before)
	older.wantText(t, "setup", "Newest")
	if strings.Contains(older.main(), "Older") {
		t.Error("there is something before the first record")
	}
}

// Pages for others look as if they didn't exist.
func TestManagementNeedsRights(t *testing.T) {
	k := newKit(t, nil)
	token := k.MustToken(t, keep.NewToken{Description: "x", Permissions: keeptest.ReadSecrets(k.Org)})
	reader := k.withToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	missing := reader.get("/ui/nothing").body
	paths := []string{"/ui/users", "/ui/users/" + k.Admin.String(), "/ui/server", "/ui/server/keys", "/ui/server/backup", "/ui/audit",
		k.path("/access"), k.path("/access/new"), k.path("/access/" + token.ID.String()), k.path("/access/" + token.ID.String() + "/delete"), k.path("/audit")}
	for _, path := range paths {
		if p := reader.get(path); p.status != http.StatusNotFound || withoutOnce(p.body) != withoutOnce(missing) {
			t.Errorf("a reader gets %s: %d %s", path, p.status, p.main())
		}
	}
	for path, fields := range map[string][]string{
		"/ui/users": {"name", "x"},
		"/ui/users/" + k.Admin.String() + "/status":   {"status", "inactive"},
		"/ui/users/" + k.Admin.String() + "/password": {"password", "battery staple 1", "repeat", "battery staple 1"},
		"/ui/users/" + k.Admin.String() + "/delete":   nil,
		"/ui/server/keys":     nil,
		"/ui/server/backup":   nil,
		"/ui/audit":           {"secret", "x"},
		"/ui/me/password":     {"old", "x", "password", "battery staple 1", "repeat", "battery staple 1"},
		k.path("/access/new"): {"recipe", "ci", "description", "x", "names", "", "expires", "0"},
		k.path("/access/" + token.ID.String() + "/status"): {"status", "inactive"},
		k.path("/access/" + token.ID.String() + "/delete"): nil,
		k.path("/members/" + k.Admin.String() + "/remove"): nil,
		k.path("/audit"):                       {"secret", "x"},
		"/ui/orgs/0000000000000001/access/new": {"recipe", "ci", "description", "x", "names", "", "expires", "0"},
	} {
		if p := reader.post(path, fields...); p.status != http.StatusNotFound || withoutOnce(p.body) != withoutOnce(missing) {
			t.Errorf("a reader posts to %s: %d %s", path, p.status, p.main())
		}
	}
	reader.get("/ui/me").wantText(t, "You are signed in with a token")
}

// withoutOnce replaces the random IDs of a page's forms.
func withoutOnce(body string) string {
	parts := strings.Split(body, `name="once" value="`)
	for i := range parts[1:] {
		_, parts[i+1], _ = strings.Cut(parts[i+1], `"`)
	}
	return strings.Join(parts, "")
}

func TestServerPages(t *testing.T) {
	k := newKit(t, nil)
	var err error
	if k.handler, err = web.New(k.Keep, web.Config{Version: "1.2.3", Now: k.Clock.Now, Started: k.Clock.Now(), Server: func() web.ServerInfo {
		return web.ServerInfo{StoreBytes: 5 << 30, Warnings: []web.Warning{{"TLS is off.", "Use --tls-cert."}}}
	}}); err != nil {
		t.Fatal(err)
	}
	b := k.admin(t)
	b.get("/ui/server").wantText(t, "Warning: TLS is off.", "Use --tls-cert.", "There is no backup.", "2 warnings", "1.2.3", "5,120 MiB on the disk")
	p := b.post("/ui/server/backup")
	if p.status != http.StatusOK || !strings.Contains(p.header.Get("Content-Disposition"), ".backup") || len(p.body) == 0 {
		t.Errorf("a backup: %d %v", p.status, p.header)
	}
	b.get("/ui/server/backup").wantText(t, "Last backup: moments ago")
	k.Clock.Advance(8 * 24 * time.Hour)
	b = k.admin(t)
	b.get("/ui/server").wantText(t, "The last backup is 8 days old.")
	b.get("/ui/server/keys").wantText(t, "encrypts everything new", "Rotate the data key")
	if p := b.post("/ui/server/keys"); p.status != http.StatusBadRequest || !strings.Contains(p.main(), "can't rotate its keys") {
		t.Errorf("a server that can't rotate keys: %d %s", p.status, p.main())
	}
}

func TestOwnSettings(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	other := k.admin(t)
	p := b.follow(b.post("/ui/me/preferences", "look", "dark"))
	if !strings.Contains(p.body, `data-look="dark"`) || !strings.Contains(p.body, `data-keys="off"`) {
		t.Error("the preferences have no effect")
	}
	p = b.follow(b.post("/ui/me/preferences", "look", "system", "keys", "on"))
	if strings.Contains(p.body, "data-look") || strings.Contains(p.body, "data-keys") {
		t.Error("the default preferences have no effect")
	}
	fields := func(old, password, again string) []string {
		return []string{"old", old, "password", password, "repeat", again}
	}
	if p := b.post("/ui/me/password", fields("wrong password", "battery staple 1", "battery staple 1")...); p.status != http.StatusForbidden || !strings.Contains(p.main(), "The current password is wrong.") {
		t.Errorf("a wrong password: %d %s", p.status, p.main())
	}
	if p := b.post("/ui/me/password", fields(k.Password, "battery staple 1", "battery staple 2")...); p.status != 422 {
		t.Errorf("two passwords: %d %s", p.status, p.main())
	}
	b.follow(b.post("/ui/me/password", fields(k.Password, "battery staple 1", "battery staple 1")...)).wantText(t, "Your password was changed")
	if p := other.get("/ui/me"); p.status == http.StatusOK {
		t.Error("the other session goes on")
	}
	k.browser(t).signIn("admin", "battery staple 1")
}

// A member sees no tokens of others, and can change nothing here.
func TestMemberSeesLittle(t *testing.T) {
	k := newKit(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	u, err := k.CreateUser(t.Context(), op, "bob", true)
	if err == nil {
		err = k.SetPassword(t.Context(), op, u.ID, "battery staple 1")
	}
	if err == nil {
		_, err = k.AddMember(t.Context(), op, k.Org, u.ID, keep.Member)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := k.browser(t)
	b.signIn("bob", "battery staple 1")
	p := b.get(k.path("/members"))
	p.wantText(t, "bob", "member", "admin", "owner")
	if strings.Contains(p.main(), "Remove") || strings.Contains(p.main(), "Add a user") {
		t.Error("a member can change members")
	}
	for _, path := range []string{k.path("/audit"), k.path("/access/new")} {
		if p := b.get(path); p.status != http.StatusNotFound {
			t.Errorf("a member gets %s: %d", path, p.status)
		}
	}
	if acl.Member(k.Org).Allows(acl.Permission{Action: acl.Read, Resource: acl.Resource{Type: acl.Authorizations, OrgID: k.Org}}) {
		if p := b.get(k.path("/access")); strings.Contains(p.main(), "admin's Token") {
			t.Error("a member sees the operator's token")
		}
	}
}
