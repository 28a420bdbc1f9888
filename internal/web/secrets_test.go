package web_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"golang.org/x/net/html"
)

// path returns the path of a page of the kit's organization.
func (k *kit) path(rest string) string { return "/ui/orgs/" + k.Org.String() + rest }

// ref returns the reference of a name.
func (k *kit) ref(tb testing.TB, name string) string {
	tb.Helper()
	of, err := k.References(tb.Context(), k.Operator(tb, keep.Web), k.Org)
	if err != nil {
		tb.Fatal(err)
	}
	return of(name)
}

func (k *kit) secretPath(tb testing.TB, name, rest string) string {
	tb.Helper()
	return k.path("/secrets/" + k.ref(tb, name) + rest)
}

// filled returns the fields of the form that has a button with the text, as a browser
// would send them, with other values for some fields.
func (p *page) filled(tb testing.TB, button string, change ...string) (action string, fields []string) {
	tb.Helper()
	for _, b := range p.all("button") {
		if strings.TrimSpace(text(b)) == button && p.formOf(b) != nil {
			return p.filledBy(tb, b, change...)
		}
	}
	tb.Fatalf("%s has no button %q: %s", p.path, button, p.main())
	return "", nil
}

// filledBy is filled for a button.
func (p *page) filledBy(tb testing.TB, pressed *html.Node, change ...string) (action string, fields []string) {
	tb.Helper()
	form := p.formOf(pressed)
	values := map[string][]string{}
	for n := range form.Descendants() {
		name := attr(n, "name")
		if n.Type != html.ElementNode || name == "" || hasAttr(n, "form") {
			continue
		}
		switch {
		case n.Data == "textarea":
			values[name] = []string{strings.ReplaceAll(strings.TrimPrefix(text(n), "\n"), "\n", "\r\n")}
		case n.Data == "select":
			for o := range n.Descendants() {
				if o.Data == "option" && (hasAttr(o, "selected") || values[name] == nil) {
					values[name] = []string{attr(o, "value")}
				}
			}
		case n.Data == "input" && (attr(n, "type") == "checkbox" || attr(n, "type") == "radio"):
			if hasAttr(n, "checked") {
				values[name] = []string{attr(n, "value")}
			}
		case n.Data == "input":
			values[name] = append(values[name], attr(n, "value"))
		}
	}
	for i := 0; i < len(change); i += 2 {
		values[change[i]] = []string{change[i+1]}
	}
	if name := attr(pressed, "name"); name != "" {
		values[name] = []string{attr(pressed, "value")}
	}
	for name, list := range values {
		for _, v := range list {
			fields = append(fields, name, v)
		}
	}
	if action = attr(pressed, "formaction"); action == "" {
		action = attr(form, "action")
	}
	return action, fields
}

// formOf returns the form of a button, nil if there is none.
func (p *page) formOf(button *html.Node) *html.Node {
	if id := attr(button, "form"); id != "" {
		for _, f := range p.all("form") {
			if attr(f, "id") == id {
				return f
			}
		}
		return nil
	}
	for n := button.Parent; n != nil; n = n.Parent {
		if n.Data == "form" {
			return n
		}
	}
	return nil
}

func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}

// press sends the form that has a button with the text.
func (b *browser) press(p *page, button string, change ...string) *page {
	b.tb.Helper()
	action, fields := p.filled(b.tb, button, change...)
	return b.post(action, fields...)
}

// has fails unless the page's main part has the texts.
func (p *page) has(tb testing.TB, status int, texts ...string) {
	tb.Helper()
	if p.status != status {
		tb.Errorf("%s answered %d, want %d: %s", p.path, p.status, status, p.main())
	}
	for _, t := range texts {
		if !strings.Contains(p.main(), t) {
			tb.Errorf("%s lacks %q: %s", p.path, t, p.main())
		}
	}
}

func TestSetup(t *testing.T) {
	k := newKit(t, &keeptest.Options{Fresh: true})
	b := k.browser(t)
	if p := b.get("/ui/"); p.header.Get("Location") != "/ui/setup" {
		t.Fatalf("the first page is %s", p.header.Get("Location"))
	}
	p := b.get("/ui/setup")
	p.has(t, 200, "Set up Fluxkeep", "8 to 72 characters")
	b.press(p, "Set up", "username", "ann").has(t, 422, "Choose a password.", "Choose a name for the first organization.")
	b.press(p, "Set up", "username", "ann", "password", "short", "again", "short", "org", "acme").has(t, 400, "Passwords must be between 8 and 72 characters long.")
	b.press(p, "Set up", "username", "ann", "password", "battery staple", "again", "battery stable", "org", "acme").has(t, 422, "The two passwords differ.")
	action, fields := p.filled(t, "Set up", "username", "ann", "password", "battery staple", "again", "battery staple", "org", "acme")
	answers := make(chan *page)
	for range 2 { // a double click
		go func() { answers <- b.clone().post(action, fields...) }()
	}
	done, twice := <-answers, <-answers
	done.has(t, 200, "This token is shown once.", "I have stored the token")
	token := done.text("token")
	if twice.text("token") != token {
		t.Errorf("the second click shows the token %q: %s", twice.text("token"), twice.main())
	}
	if p := b.post(action, fields...); p.text("token") != token {
		t.Errorf("a late second click is answered with %d: %s", p.status, p.main())
	}
	if _, err := k.Authenticate(t.Context(), keeptest.Origin(keep.InfluxDB), token); err != nil {
		t.Errorf("the token %q: %v", token, err)
	}
	b.follow(b.get("/ui/orgs")).has(t, 200, "No secrets in acme yet.")
	again := b.post("/ui/setup", "username", "eve", "password", "battery staple", "again", "battery staple", "org", "x")
	if again.status != http.StatusSeeOther || strings.Contains(again.body, token) {
		t.Errorf("a second setup: %d", again.status)
	}
	if b.get("/ui/setup").status != http.StatusSeeOther {
		t.Error("the form is still there")
	}

	users, err := k.Users(t.Context(), k.MustCaller(t, keep.InfluxDB, token), keep.UserFilter{Name: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.SetPassword(t.Context(), k.MustCaller(t, keep.InfluxDB, token), users[0].ID, "battery staple 2"); err != nil {
		t.Fatal(err)
	}
	if p := b.clone().post(action, fields...); p.status != http.StatusSeeOther || strings.Contains(p.body, token) {
		t.Errorf("the form with a password that has changed: %d", p.status)
	}
}

// TestSetupSignedOut: whoever comes after somebody who has set the server up and signed out
// doesn't get the token by going back and sending the form again.
func TestSetupSignedOut(t *testing.T) {
	k := newKit(t, &keeptest.Options{Fresh: true})
	b := k.browser(t)
	action, fields := b.get("/ui/setup").filled(t, "Set up", "username", "ann", "password", "battery staple", "again", "battery staple", "org", "acme")
	token := b.post(action, fields...).text("token")
	b.press(b.get("/ui/me"), "Sign out")
	if p := b.post(action, fields...); token == "" || p.status != http.StatusSeeOther || strings.Contains(p.body, token) {
		t.Errorf("after signing out, the form of %q is answered with %d", token, p.status)
	}
}

func TestAddAndChange(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	p := b.get(k.path("/secrets/new"))
	value := "line 1\nline 2\n\n"
	p = b.press(p, "Add the secret", "name", "db", "value", strings.ReplaceAll(value, "\n", "\r\n"))
	p.has(t, 422, "Not saved yet.", "ends with white space")
	p = b.follow(b.press(p, "Save it as it is"))
	p.has(t, 200, "Added. Saved as version 1.", "db")
	if got := k.MustValues(t)["db"]; got != value {
		t.Errorf("the value is %q, want %q", got, value)
	}
	if strings.Contains(p.body, "line 1") {
		t.Error("the page contains the value")
	}
	p = b.get(k.secretPath(t, "db", "/edit"))
	if strings.Contains(p.body, "line 1") {
		t.Error("the form contains the old value")
	}
	b.follow(b.press(p, "Save the new value", "value", "a\r\nb", "crlf", "1")).has(t, 200, "Saved as version 2.")
	if got := k.MustValues(t)["db"]; got != "a\r\nb" {
		t.Errorf("with Windows line endings, the value is %q", got)
	}
	b.follow(b.press(b.get(k.secretPath(t, "db", "/edit")), "Save the new value", "value", "a\r\nb", "crlf", "1")).has(t, 200, "The value was the same")
	b.post(k.path("/secrets/new"), "name", "", "value", "x").has(t, 422, "Enter a name.")
	b.post(k.path("/secrets/new"), "name", strings.Repeat("x", 1031), "value", "x").has(t, 422, "The name is 1,031 bytes long; 1,024 are allowed.")
	b.post(k.path("/secrets/new"), "name", "big", "value", strings.Repeat("é", 1<<19)+"x").has(t, 422, "The value is 1,048,577 bytes long; 1,048,576 are allowed.")
	b.post(k.path("/secrets/new"), "name", "a/../b", "value", "x").has(t, 400, "Not saved: Secret name must not have a \"..\" segment.")
	b.post(k.path("/secrets/new"), "name", "a", "value", "x", "other", "x").has(t, 400, "Invalid form")
	b.post(k.path("/secrets/new"), "name", "a", "name", "b").has(t, 400, "Invalid form")
	b.post(k.path("/secrets/new"), "name", "\xff", "value", "x").has(t, 400, "Invalid form")
	// A value that begins with line breaks and markup comes back as it was typed.
	hostile := "\n\n</textarea><script>alert(1)</script>\n"
	p = b.post(k.path("/secrets/new"), "name", "", "value", strings.ReplaceAll(hostile, "\n", "\r\n"))
	for _, n := range p.all("textarea") {
		if got := strings.TrimPrefix(text(n), ""); got != hostile { // the parser drops the template's line break
			t.Errorf("the field has %q, want %q", got, hostile)
		}
	}
}

// TestWarnings: what is often a mistake is named and never repaired.
func TestWarnings(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	for _, c := range []struct{ name, value, want string }{
		{"a", " x", "begins with white space"},
		{"a", "x ", "ends with white space"},
		{"a", "x\n", "one line and ends with a line break"},
		{"a", "", "The value is empty."},
		{"a", "\t", "only white space"},
		{"a", "x\u200by", "U+200B"},
		{"a", "x\u202ey", "U+202E"},
		{" a", "x", "The name has white space at an end."},
		{"a b", "x", "The name has a space in it."},
		{"a=b", "x", "equals sign"},
		{"a\u200bb", "x", "characters that can’t be seen: U+200B"},
		{"ghp_1234567890abcdefghijklmnopqrstuvwxyz", "x", "looks like a value"},
		{"a", "-----BEGIN KEY-----\nMIIB\n-----END KEY-----\n", ""},
		{"a.b-c/d_E", "x y", ""},
		{"a", "x\n\ty", ""},
	} {
		p := b.post(k.path("/secrets/new"), "name", c.name, "value", c.value)
		if c.want == "" {
			b.follow(p)
			k.MustChange(t, keep.Change{Remove: []string{c.name}})
			continue
		}
		p.has(t, 422, "Not saved yet.", c.want)
		if len(k.MustValues(t)) > 0 {
			t.Fatalf("%q was stored in spite of the warning", c.name)
		}
	}
}

// TestConflict: nobody overwrites a change that they haven't seen, and what was typed
// stays.
func TestConflict(t *testing.T) {
	k := newKit(t, nil)
	k.MustChange(t, keep.Change{Set: map[string]string{"db": "1", "other": "1"}})
	b := k.admin(t)
	form := b.get(k.secretPath(t, "db", "/edit"))
	k.MustChange(t, keep.Change{Set: map[string]string{"other": "2"}})
	b.follow(b.press(form, "Save the new value", "value", "mine")).has(t, 200, "Saved as version 3.")

	form = b.get(k.secretPath(t, "db", "/edit"))
	k.MustChange(t, keep.Change{Set: map[string]string{"db": "theirs"}})
	p := b.press(form, "Save the new value", "value", "mine again")
	p.has(t, 409, "Version 4 changed this secret", "admin's Token", "What you typed is still here.", "mine again")
	if got := k.MustValues(t)["db"]; got != "theirs" {
		t.Fatalf("the value is %q", got)
	}
	b.follow(b.press(p, "Save mine as version 5")).has(t, 200, "Saved as version 5.")
	if got := k.MustValues(t)["db"]; got != "mine again" {
		t.Errorf("the value is %q", got)
	}

	form = b.get(k.secretPath(t, "db", "/edit"))
	k.MustChange(t, keep.Change{Remove: []string{"db"}})
	p = b.press(form, "Save the new value", "value", "x")
	p.has(t, 409, "Version 6 deleted this secret")
	b.follow(b.press(p, "Save mine as version 7"))

	p = b.post(k.path("/secrets/new"), "name", "db", "value", "new")
	p.has(t, 409, "A secret with this name exists.")
	b.follow(b.press(p, "Replace its value as version 8"))
	if got := k.MustValues(t)["db"]; got != "new" {
		t.Errorf("the value is %q", got)
	}
}

// TestSentTwice: a form that is sent twice acts once, and both get the same answer.
func TestSentTwice(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	action, fields := b.get(k.path("/secrets/new")).filled(t, "Add the secret", "name", "db", "value", "x")
	first, second := b.post(action, fields...), b.post(action, fields...)
	if first.status != 303 || second.status != 303 || first.header.Get("Location") != second.header.Get("Location") {
		t.Errorf("%d %s, then %d %s", first.status, first.header.Get("Location"), second.status, second.main())
	}
	for i := range fields {
		if fields[i] == "value" {
			fields[i+1] = "y"
		}
	}
	b.post(action, fields...).has(t, 409, "A secret with this name exists.") // another form, not the same twice
	k.Clock.Advance(11 * time.Minute)
	action, fields = b.get(k.secretPath(t, "db", "/edit")).filled(t, "Save the new value", "value", "z")
	done := make(chan *page)
	for range 2 {
		go func() { done <- b.clone().post(action, fields...) }()
	}
	for range 2 {
		if p := <-done; p.status != 303 {
			t.Errorf("at the same time: %d %s", p.status, p.main())
		}
	}
	if h, err := k.History(t.Context(), k.Operator(t, keep.Web), k.Org); err != nil || len(h) != 2 {
		t.Errorf("there are %d versions, %v", len(h), err)
	}
}

// clone returns a browser with the same cookies.
func (b *browser) clone() *browser {
	c := *b
	c.cookies = map[string]string{}
	for name, value := range b.cookies {
		c.cookies[name] = value
	}
	c.header = b.header.Clone()
	return &c
}

func TestReveal(t *testing.T) {
	k := newKit(t, nil)
	value := "\ufeffa\x00b\r\nc\u2028</script>\ttrailing "
	k.MustChange(t, keep.Change{Set: map[string]string{"db": "old"}})
	k.MustChange(t, keep.Change{Set: map[string]string{"db": value}})
	b := k.admin(t)
	_, end := k.AuditRecords(t, 0)
	status, answer := b.json("POST", k.secretPath(t, "db", "/value"))
	if status != 200 || answer["value"] != value {
		t.Errorf("%d %q", status, answer)
	}
	if status, answer = b.json("POST", k.secretPath(t, "db", "/value"), "version", "1"); status != 200 || answer["value"] != "old" {
		t.Errorf("version 1: %d %q", status, answer)
	}
	records, _ := k.AuditRecords(t, end)
	var versions []uint64
	for _, r := range records {
		if r.Action == "secrets.read" && r.Protocol == "web" && len(r.Names) == 1 && r.Names[0] == "db" {
			versions = append(versions, r.Version)
		}
	}
	if fmt.Sprint(versions) != "[2 1]" {
		t.Errorf("the audit log has reads of versions %v", versions)
	}
	if status, answer = b.json("POST", k.secretPath(t, "db", "/value"), "version", "9"); status != 404 || answer["error"] == "" {
		t.Errorf("a version that doesn't exist: %d %q", status, answer)
	}
	if status, _ = b.json("POST", k.path("/secrets/AAAAAAAAAAAAAAAA/value")); status != 404 {
		t.Errorf("a secret that doesn't exist: %d", status)
	}
	if p := b.get(k.secretPath(t, "db", "/value")); p.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", p.status)
	}
	b.get(k.secretPath(t, "db", "")).has(t, 200, "admin web") // who has read it
}

func TestList(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	b.get(k.path("/secrets")).has(t, 200, "No secrets in acme yet.", "fluxkeep secret set NAME")
	set := map[string]string{}
	for i := range 1200 {
		set[fmt.Sprintf("name-%04d", i)] = "hidden value"
	}
	k.MustChange(t, keep.Change{Set: set})
	k.MustChange(t, keep.Change{Set: map[string]string{"name-0700": "new"}})
	order := func(p *page) (names []string) {
		for _, n := range p.all("a") {
			if strings.HasPrefix(attr(n, "id"), "r") {
				names = append(names, text(n))
			}
		}
		return names
	}
	for _, c := range []struct {
		query       string
		first, last string
		rows        int
	}{
		{"", "name-0000", "name-0499", 500},
		{"?page=3", "name-1000", "name-1199", 200},
		{"?page=99", "name-1000", "name-1199", 200},
		{"?desc", "name-1199", "name-0700", 500},
		{"?sort=changed&desc", "name-0700", "", 500},
		{"?sort=changed&page=3", "", "name-0700", 200},
		{"?sort=read&desc&page=2", "name-0500", "name-0999", 500},
		{"?sort=by", "name-0000", "", 500},
		{"?sort=nonsense&page=x", "name-0000", "", 500},
	} {
		p := b.get(k.path("/secrets" + c.query))
		names := order(p)
		if len(names) != c.rows || c.first != "" && names[0] != c.first || c.last != "" && names[len(names)-1] != c.last {
			t.Errorf("%s: %d rows from %s to %s", c.query, len(names), names[0], names[len(names)-1])
		}
		if strings.Contains(p.body, "hidden value") {
			t.Errorf("%s contains a value", c.query)
		}
		if p.header.Get("Content-Encoding") != "" {
			t.Errorf("%s is compressed for a browser that can't", c.query)
		}
	}
	p := b.get(k.path("/secrets"))
	p = b.press(p, "Filter", "filter", "NAME-11")
	p.has(t, 200, "100 of 1,200 secrets")
	if names := order(p); len(names) != 100 || names[0] != "name-1100" {
		t.Errorf("filtered: %d rows from %s", len(names), names[0])
	}
	p = b.press(p, "Name")
	if names := order(p); len(names) != 100 || names[0] != "name-1199" {
		t.Errorf("filtered and sorted: %d rows from %s", len(names), names[0])
	}
	p = b.press(b.get(k.path("/secrets")), "Filter", "filter", "name")
	p = b.press(b.press(p, "Name"), "Next")
	if names := order(p); len(names) != 500 || names[0] != "name-0699" {
		t.Errorf("the next page, filtered and sorted: %d rows from %s", len(names), names[0])
	}
	if names := order(b.press(p, "Previous")); names[0] != "name-1199" {
		t.Errorf("the previous page, filtered and sorted, begins with %s", names[0])
	}
	p = b.press(p, "Filter", "filter", "<b>&\u202e")
	p.has(t, 200, "No name contains “<b>&U+202E”", "Add a secret with this name")
	b.press(p, "Add a secret with this name").has(t, 200, "Add a secret")
}

// TestWeight: 1,000 rows are small on the wire, and each row has few elements.
func TestWeight(t *testing.T) {
	k := newKit(t, nil)
	set := map[string]string{}
	for i := range 1000 {
		set[fmt.Sprintf("service-%d.password", i*7919)] = strconv.Itoa(i)
	}
	k.MustChange(t, keep.Change{Set: set})
	b := k.admin(t)
	b.json("POST", k.secretPath(t, "service-0.password", "/value"))
	b.header.Set("Accept-Encoding", "gzip, br")
	p := b.get(k.path("/secrets"))
	if p.header.Get("Content-Encoding") != "gzip" {
		t.Fatal("not compressed")
	}
	sent, _ := strconv.Atoi(p.header.Get("Content-Length"))
	t.Logf("1,000 rows are %d bytes, %d compressed", len(p.body), sent)
	if sent > 60<<10 {
		t.Errorf("1,000 rows are %d bytes on the wire", sent)
	}
	for _, n := range p.all("tr")[1:] {
		elements := 1
		for d := range n.Descendants() {
			if d.Type == html.ElementNode {
				elements++
			}
		}
		if elements > 14 {
			t.Fatalf("a row has %d elements", elements)
		}
	}
	// A first visit, with style sheet, script and icon.
	p = b.get("/ui/orgs?all")
	first, _ := strconv.Atoi(p.header.Get("Content-Length"))
	for _, n := range append(p.all("link"), p.all("script")...) {
		size, _ := strconv.Atoi(b.get(attr(n, "href") + attr(n, "src")).header.Get("Content-Length"))
		first += size
	}
	t.Logf("the first page is %d bytes", first)
	if first > 60<<10 {
		t.Errorf("the first page is %d bytes on the wire", first)
	}
	if filtered := b.post(k.path("/secrets"), "filter", "7"); filtered.header.Get("Content-Encoding") != "" {
		t.Error("a page that contains what was typed is compressed")
	}
}

func TestDelete(t *testing.T) {
	k := newKit(t, nil)
	set := map[string]string{}
	for i := range 12 {
		set[fmt.Sprintf("n%02d", i)] = "x"
	}
	set["db"] = "x"
	k.MustChange(t, keep.Change{Set: set})
	b := k.admin(t)
	p := b.get(k.path("/secrets"))
	confirm := b.press(p, "Delete…", "select", k.ref(t, "n00"))
	confirm.has(t, 200, "Delete 1 secret?", "n00", "for the next 10 versions")
	b.follow(b.press(confirm, "Delete 1 secret")).has(t, 200, "Deleted.")

	// One that was read lately needs the count.
	b.json("POST", k.secretPath(t, "db", "/value"))
	confirm = b.press(b.get(k.secretPath(t, "db", "")), "Delete…")
	confirm.has(t, 200, "admin read it", "Type 1 to confirm")
	b.press(confirm, "Delete 1 secret", "count", "2").has(t, 422, "Type 1 to delete 1 secret.")
	// Somebody changes it meanwhile.
	k.MustChange(t, keep.Change{Set: map[string]string{"db": "y"}})
	again := b.press(confirm, "Delete 1 secret", "count", "1")
	again.has(t, 409, "a secret was changed after you opened this page")
	b.follow(b.press(again, "Delete 1 secret", "count", "1"))
	b.get(k.secretPath(t, "db", "")).has(t, 200, "This secret was deleted", "You can restore an earlier value below.")
	b.follow(b.post(k.secretPath(t, "db", "/restore"), "version", "1", "seen", "0")).has(t, 200, "Saved as version")

	confirm = b.post(k.path("/secrets/delete"), "all", "1", "filter", "N")
	confirm.has(t, 200, "Delete 11 secrets?", "Type 11 to confirm")
	b.follow(b.press(confirm, "Delete 11 secrets", "count", "11"))
	if left := k.MustValues(t); len(left) != 1 || left["db"] != "x" {
		t.Errorf("left: %v", left)
	}
	b.post(k.path("/secrets/delete"), "select", "AAAAAAAAAAAAAAAA").has(t, 404)
	if p := b.post(k.path("/secrets/delete")); p.status != 303 {
		t.Errorf("nothing selected: %d", p.status)
	}
}

func TestPaste(t *testing.T) {
	k := newKit(t, nil)
	k.MustChange(t, keep.Change{Set: map[string]string{"A": "1", "B": "2", "C": "3"}})
	b := k.admin(t)
	form := b.get(k.path("/secrets/import"))
	content := "A=1\r\nB='new'\r\nD=\"x\r\ny\"\r\n"
	p := b.press(form, "Preview", "content", content)
	p.has(t, 200, "Nothing has been written yet.", "+ 1 added D", "~ 1 changed B", "1 unchanged A")
	if len(k.MustValues(t)) != 3 {
		t.Fatal("the preview wrote something")
	}
	b.press(p, "Apply as one version", "content", "E=5").has(t, 409, "Nothing was applied", "+ 1 added E")
	k.MustChange(t, keep.Change{Set: map[string]string{"Z": "0"}})
	p = b.press(p, "Apply as one version")
	p.has(t, 409, "Nothing was applied")
	b.follow(b.press(p, "Apply as one version")).has(t, 200, "Applied.")
	if got := k.MustValues(t); got["B"] != "new" || got["D"] != "x\ny" || len(got) != 5 {
		t.Errorf("the secrets are %q", got)
	}
	p = b.press(form, "Preview", "content", "A=9\r\n", "mode", "replace")
	p.has(t, 200, "~ 1 changed A", "− 4 removed B C D Z")
	b.follow(b.press(p, "Apply as one version"))
	if got := k.MustValues(t); got["A"] != "9" || len(got) != 1 {
		t.Errorf("the secrets are %q", got)
	}
	for _, c := range []struct{ format, content, want string }{
		{"dotenv", "A=1\r\nB=2\r\nA=s3cret", "Line 3: A is already on line 1."},
		{"dotenv", "A='x's3cret", "Line 1: there is text after the closing quote."},
		{"json", `{"a": 1}`, `The value of "a" must be a string.`},
		{"yaml", "a:\r\n  b: s3cret", `Line 2: the value of "a" must be text.`},
		{"dotenv", "# nothing", "There are no names in it."},
	} {
		p := b.press(form, "Preview", "content", c.content, "format", c.format)
		p.has(t, 422)
		if alert := p.alert(); !strings.Contains(alert, c.want) || strings.Contains(alert, "s3cret") {
			t.Errorf("%s: %q, want %q", c.content, alert, c.want)
		}
	}
	b.press(form, "Preview", "format", "xml", "content", "A=1").has(t, 400, "Invalid form")
}

// alert returns the text of the page's alerts.
func (p *page) alert() string {
	var all []string
	for n := range p.doc.Descendants() {
		if attr(n, "role") == "alert" {
			all = append(all, strings.Join(strings.Fields(text(n)), " "))
		}
	}
	return strings.Join(all, " ")
}

func TestHistory(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	b.get(k.path("/history")).has(t, 200, "No versions yet.")
	k.MustChange(t, keep.Change{Set: map[string]string{"a": "1", "b": "1", "c": "1", "d": "1", "e": "1", "f": "1", "g": "1"}})
	k.MustChange(t, keep.Change{Set: map[string]string{"a": "2", "h": "1"}, Remove: []string{"b"}})
	p := b.get(k.path("/history"))
	p.has(t, 200, "and 2 more", "admin's Token", "influxdb")
	b.get(k.path("/history/2")).has(t, 200, "+ added", "~ changed", "− removed")
	b.get(k.path("/history/compare?old=1&new=0")).has(t, 200, "Version 1 and version 2", "h + added not there", "a ~ changed", "b − removed")
	b.get(k.path("/history/compare?old=2&new=1")).has(t, 200, "Version 1 and version 2")
	for _, path := range []string{"/history/3", "/history/x", "/history/0", "/history/compare?old=1&new=9", "/history/compare", "/history/2/restore", "/history/9/restore"} {
		b.get(k.path(path)).has(t, 404)
	}
	preview := b.get(k.path("/history/1/restore"))
	preview.has(t, 200, "changes this in the current version 2", "h − removed", "a ~ changed", "b + added")
	k.MustChange(t, keep.Change{Set: map[string]string{"i": "1"}})
	again := b.press(preview, "Restore as version 3")
	again.has(t, 409, "Not restored", "i − removed")
	b.follow(b.press(again, "Restore as version 4")).has(t, 200, "Restored as version 4.", "rolled back to 1")
	if got := k.MustValues(t); len(got) != 7 || got["a"] != "1" {
		t.Errorf("the secrets are %v", got)
	}
	b.get(k.path("/history/3/restore")).has(t, 200, "a ~ changed", "h + added")
}

func TestPinned(t *testing.T) {
	k := newKit(t, nil)
	set := map[string]string{"a": "1", "b": "1", "c": "1", "d": "1"}
	k.MustChange(t, keep.Change{Set: set})
	drop := func() {
		t.Helper()
		if _, err := k.Change(t.Context(), k.Operator(t, keep.Influxd), k.Org, keep.Change{Set: map[string]string{"a": "1"}, Replace: true, Guard: true}); err != nil {
			t.Fatal(err)
		}
	}
	drop()
	b := k.admin(t)
	b.get(k.path("/secrets")).has(t, 200, "3 names disappeared with version 2.", "Version 1 is pinned")
	k.MustChange(t, keep.Change{Set: map[string]string{"a": "2"}})
	p := b.get(k.path("/history/1/restore"))
	p.has(t, 200, "Version 1 is pinned", "3 names")
	b.follow(b.press(p, "Restore the missing names")).has(t, 200, "Restored as version 4.")
	if got := k.MustValues(t); len(got) != 4 || got["a"] != "2" {
		t.Errorf("the secrets are %v", got)
	}
	gone := func() {
		t.Helper()
		if p := b.get(k.path("/secrets")); strings.Contains(p.main(), "disappeared") {
			t.Error("the list still warns")
		}
	}
	gone()
	p = b.get(k.path("/history/1/restore"))
	b.follow(b.press(p, "Unpin version 1")).has(t, 200, "The version is no longer pinned.")
	gone()
	drop()
	b.get(k.path("/secrets")).has(t, 200, "3 names disappeared with version 5.")
	p = b.get(k.path("/history/4/restore"))
	b.follow(b.press(p, "Deletion was intended")).has(t, 200, "The version is no longer pinned.")
	gone()
}

// TestMissingAsShown: a name that was deleted after the preview isn't restored with the
// names that it showed.
func TestMissingAsShown(t *testing.T) {
	k := newKit(t, nil)
	k.MustChange(t, keep.Change{Set: map[string]string{"a": "1", "b": "1", "c": "1", "d": "1"}})
	if _, err := k.Change(t.Context(), k.Operator(t, keep.Influxd), k.Org, keep.Change{Set: map[string]string{"a": "1"}, Replace: true, Guard: true}); err != nil {
		t.Fatal(err)
	}
	b := k.admin(t)
	p := b.get(k.path("/history/1/restore"))
	k.MustChange(t, keep.Change{Remove: []string{"a"}})
	p = b.press(p, "Restore the missing names")
	p.has(t, 409, "the secrets were changed after you opened this page", "4 names")
	if got := k.MustValues(t); len(got) != 0 {
		t.Errorf("the secrets are %v", got)
	}
	b.follow(b.press(p, "Restore the missing names")).has(t, 200, "Restored as version 4.")
}

// TestLess: those who may do less see only what they may do.
func TestLess(t *testing.T) {
	k := newKit(t, nil)
	k.MustChange(t, keep.Change{Set: map[string]string{"a": "1", "b1": "1", "b2": "1"}})
	reader := k.withToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	p := reader.get(k.path("/secrets"))
	p.has(t, 200, "You can read secrets here, not change them.")
	for _, n := range append(p.all("a"), p.all("button")...) {
		if s := text(n); s == "Add a secret" || s == "Delete…" || s == "Paste .env" {
			t.Errorf("a reader sees %q", s)
		}
	}
	for _, path := range []string{"/secrets/new", "/secrets/import", "/history/1/restore", "/secrets/" + k.ref(t, "a") + "/edit"} {
		reader.get(k.path(path)).has(t, 404)
	}
	reader.post(k.path("/secrets/new"), "name", "x", "value", "x").has(t, 404)
	reader.post(k.path("/secrets/delete"), "select", k.ref(t, "a")).has(t, 404)
	reader.post(k.secretPath(t, "a", "/restore"), "version", "1").has(t, 404)

	limited := k.withToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(k.Org), Names: []string{"b*"}})
	p = limited.get(k.path("/secrets"))
	p.has(t, 200, "b1", "b2", "2 secrets")
	hidden := limited.get(k.secretPath(t, "a", ""))
	missing := limited.get(k.path("/secrets/AAAAAAAAAAAAAAAA"))
	if once.ReplaceAllString(hidden.body, "") != once.ReplaceAllString(missing.body, "") || hidden.status != 404 {
		t.Error("a hidden secret differs from a missing one")
	}
	if status, _ := limited.json("POST", k.secretPath(t, "a", "/value")); status != 404 {
		t.Errorf("the value of a hidden secret: %d", status)
	}
	limited.post(k.path("/secrets/new"), "name", "a2", "value", "x").has(t, 403, "The token is not for secret")
	limited.follow(limited.post(k.path("/secrets/new"), "name", "b3", "value", "x"))
	limited.get(k.path("/history")).has(t, 200, "You see only versions that changed one of your names.")
	limited.get(k.path("/history/1/restore")).has(t, 404)

	writer := k.withToken(t, keep.NewToken{Permissions: acl.Set{{Action: acl.Write, Resource: acl.Resource{Type: acl.Secrets, OrgID: k.Org}}}})
	writer.get(k.path("/secrets")).has(t, 200, "You can change secrets here, not read them")
	writer.follow(writer.post(k.path("/secrets/new"), "name", "a", "value", "x")).has(t, 200, "Saved.")
	p = writer.post(k.path("/secrets/import"), "content", "a=y\nz=1", "format", "dotenv", "mode", "merge")
	p.has(t, 200, "2 set a z")
	writer.follow(writer.press(p, "Apply as one version"))
	writer.get(k.path("/history")).has(t, 404)
	writer.get(k.secretPath(t, "a", "")).has(t, 404)
	if got := k.MustValues(t); got["a"] != "y" || got["z"] != "1" {
		t.Errorf("the secrets are %v", got)
	}
}

// TestSessionEndsWithForm: what was typed survives the end of a session, for the same
// user alone.
func TestSessionEndsWithForm(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	action, fields := b.get(k.path("/secrets/new")).filled(t, "Add the secret", "name", "big", "value", strings.Repeat("é\r\n", 1<<18)+"x")
	k.Clock.Advance(2 * time.Hour)
	p := b.post(action, fields...)
	p.has(t, 401, "Your session has ended.")
	if len(k.MustValues(t)) > 0 {
		t.Fatal("stored without a session")
	}
	for _, n := range p.all("textarea") {
		if attr(n, "class") != "masked" {
			t.Error("what was typed isn't masked")
		}
	}
	b.press(p, "Sign in", "username", "admin", "password", "wrong").has(t, 401, "The username or the password is wrong.", "What you typed: value")
	other := b.clone()
	other.cookies = map[string]string{}
	if p := other.press(p, "Sign in", "token", k.OperatorToken); p.status != 303 || strings.Contains(p.body, "é") {
		t.Errorf("another identity gets %d %s", p.status, p.main())
	}
	p = b.press(p, "Sign in", "username", "admin", "password", k.Password)
	p.has(t, 200, "You are signed in again")
	b.follow(b.press(p, "Send it now")).has(t, 200, "Added.")
	if got := k.MustValues(t)["big"]; got != strings.Repeat("é\n", 1<<18)+"x" {
		t.Errorf("the value has %d bytes", len(got))
	}
}

// TestAnotherUsersForm: a form is never carried out for another user than the one it
// was made for.
func TestAnotherUsersForm(t *testing.T) {
	k := newKit(t, nil)
	action, fields := k.admin(t).get(k.path("/secrets/new")).filled(t, "Add the secret", "name", "a", "value", "x")
	other := k.withToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(k.Org)})
	other.post(action, fields...).has(t, 409, "Another user's form")
	if len(k.MustValues(t)) > 0 {
		t.Error("it was carried out")
	}
}
