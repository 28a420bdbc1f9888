package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"github.com/fluxkeep/fluxkeep/internal/web"
)

func TestHeaders(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	want := map[string]string{
		"Content-Security-Policy":      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
		"X-Frame-Options":              "DENY",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "same-origin",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), microphone=(), geolocation=(), payment=(), usb=(), clipboard-read=()",
		"Cache-Control":                "no-store",
	}
	css := regexp.MustCompile(`/ui/assets/[0-9a-f]{16}/app\.css`).FindString(b.get("/ui/orgs?all").body)
	for _, path := range []string{"/ui/", "/ui/sign-in", "/ui/orgs?all", "/ui/nothing", "/ui/orgs/x/secrets", css, "/ui/assets/0/app.css"} {
		p := b.get(path)
		for name, value := range want {
			if path == css && name == "Cache-Control" {
				value = "public, max-age=31536000, immutable"
			}
			if got := p.header.Values(name); len(got) != 1 || got[0] != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got, value)
			}
		}
		for name := range p.header {
			if strings.HasPrefix(name, "Access-Control") || name == "Strict-Transport-Security" {
				t.Errorf("%s has %s", path, name)
			}
		}
	}
	if p := b.get(css); p.status != 200 || !strings.HasPrefix(p.header.Get("Content-Type"), "text/css") {
		t.Errorf("%s: %d %s", css, p.status, p.header.Get("Content-Type"))
	}
	p := b.post("/ui/sign-out")
	if got := p.header.Get("Clear-Site-Data"); got != `"cache"` || len(b.cookies) != 0 {
		t.Errorf("signing out: Clear-Site-Data is %s, cookies %v", got, b.cookies)
	}
}

// TestWants: only browsers get the page at the root.
func TestWants(t *testing.T) {
	for _, c := range []struct {
		method, path, accept string
		want                 bool
	}{
		{"GET", "/", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", true},
		{"HEAD", "/", "text/html", true},
		{"GET", "/", "text/html;q=0.5, application/json;q=0.4", true},
		{"GET", "/", "text/html;q=0.5, application/json", false},
		{"GET", "/", "text/html;q=0", false},
		{"GET", "/", "*/*", false},
		{"GET", "/", "", false},
		{"GET", "/", "application/json", false},
		{"POST", "/", "text/html", false},
		{"GET", "/ui", "", true},
		{"POST", "/ui/sign-in", "*/*", true},
		{"GET", "/uix", "text/html", false},
		{"GET", "/api/v2/orgs", "text/html", false},
		{"GET", "/health", "text/html", false},
	} {
		r, _ := http.NewRequest(c.method, "http://localhost"+c.path, nil)
		r.Header.Set("Accept", c.accept)
		if web.Wants(r) != c.want {
			t.Errorf("%s %s, Accept %q: want %v", c.method, c.path, c.accept, c.want)
		}
	}
}

func TestSignIn(t *testing.T) {
	k := newKit(t, nil)
	b := k.browser(t)
	p := b.get("/ui/orgs?all")
	if p.status != http.StatusUnauthorized || !strings.Contains(p.body, `name="to" value="/ui/orgs?all"`) {
		t.Fatalf("without a session: %d %s", p.status, p.body)
	}
	for _, wrong := range [][]string{
		{"username", "admin", "password", "wrong"}, {"username", "nobody", "password", "wrong"}, {"token", "wrong"}, {},
	} {
		if p := b.post("/ui/sign-in", wrong...); p.status != http.StatusUnauthorized || len(b.cookies) > 0 {
			t.Errorf("%v: %d, cookies %v", wrong, p.status, b.cookies)
		}
	}
	for to, want := range map[string]string{
		"/ui/orgs?all": "/ui/orgs?all", "": "/ui/", "/ui/nothing": "/ui/", "//evil.example/ui/": "/ui/", "https://evil.example/ui/orgs": "/ui/",
		"/ui/\\evil": "/ui/", "/api/v2/orgs": "/ui/", "/ui/../api": "/ui/", "/ui/orgs\r\nX: y": "/ui/", "javascript:alert(1)": "/ui/",
	} {
		b := k.browser(t)
		p := b.post("/ui/sign-in", "username", "admin", "password", k.Password, "to", to)
		if p.status != http.StatusSeeOther || p.header.Get("Location") != want {
			t.Errorf("to %q: %d %q, want %q", to, p.status, p.header.Get("Location"), want)
		}
		cookie := p.header.Get("Set-Cookie")
		if !regexp.MustCompile(`^fluxkeep-[0-9a-f]{8}=[^;]{40,}; Path=/ui/; HttpOnly; SameSite=Strict$`).MatchString(cookie) {
			t.Errorf("the cookie is %s", cookie)
		}
	}
	b.signIn("admin", k.Password)
	if p := b.get("/ui/orgs?all"); p.status != 200 || !strings.Contains(p.main(), "acme") {
		t.Errorf("signed in: %d %s", p.status, p.main())
	}
	if p := b.get("/ui/sign-in"); p.status != http.StatusSeeOther {
		t.Errorf("the sign-in when signed in: %d", p.status)
	}
	session := b.cookies
	b.signIn("admin", k.Password)
	old := k.browser(t)
	old.cookies = session
	b.post("/ui/sign-out")
	if p := b.get("/ui/orgs?all"); p.status != http.StatusUnauthorized {
		t.Errorf("signed out: %d", p.status)
	}
	if p := old.get("/ui/orgs?all"); p.status != http.StatusUnauthorized {
		t.Errorf("the session before the last sign-in: %d", p.status)
	}
}

// TestSignInLastReserve: an operator gets in even if only the store's last reserve is left
// and somebody else's session is still in the browser. That session ends.
func TestSignInLastReserve(t *testing.T) {
	var left atomic.Int64
	k := newKit(t, &keeptest.Options{Wrap: func(s store.Store) store.Store { return &keeptest.FullStore{Store: s, Left: &left} }})
	b := k.withToken(t, keep.NewToken{Org: k.Org, Permissions: keeptest.ReadSecrets(k.Org)})
	old := b.clone()
	left.Store(int64(store.LastReserve))
	b.signIn("admin", k.Password)
	b.get("/ui/users").has(t, http.StatusOK)
	if p := old.get("/ui/orgs?all"); p.status != http.StatusUnauthorized {
		t.Errorf("the session before: %d", p.status)
	}
	records, _ := k.AuditRecords(t, 0)
	record := func(action string) audit.Record {
		return records[slices.IndexFunc(records, func(r audit.Record) bool { return r.Action == action })]
	}
	if in, out := record("sessions.create"), record("sessions.delete"); in.User != out.User || in.Token != out.Token || out.Outcome != audit.Allowed {
		t.Errorf("the session of %s, %s was ended by %s, %s: %s", in.User, in.Token, out.User, out.Token, out.Outcome)
	}
	left.Store(int64(store.NoReserve))
}

// TestManyCookies: a cookie for another path or another server does no harm.
func TestManyCookies(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	var name, value string
	for name, value = range b.cookies {
	}
	b.header.Add("Cookie", name+"=stale; influxdb-oss-session=other; "+name+"="+value)
	b.cookies = nil
	if p := b.get("/ui/orgs?all"); p.status != 200 {
		t.Errorf("answered %d", p.status)
	}
}

func TestCrossOrigin(t *testing.T) {
	k := newKit(t, nil)
	for _, c := range []struct {
		name   string
		header map[string]string
		want   int
	}{
		{"the page itself", map[string]string{"Sec-Fetch-Site": "same-origin"}, http.StatusSeeOther},
		{"typed by the user", map[string]string{"Sec-Fetch-Site": "none"}, http.StatusSeeOther},
		{"another site", map[string]string{"Sec-Fetch-Site": "cross-site"}, http.StatusForbidden},
		{"another port of the host", map[string]string{"Sec-Fetch-Site": "same-site"}, http.StatusForbidden},
		{"an old browser on another site", map[string]string{"Origin": "https://evil.example"}, http.StatusForbidden},
		{"an old browser on another port", map[string]string{"Origin": "http://example.com:9999"}, http.StatusForbidden},
		{"a hidden origin", map[string]string{"Origin": "null"}, http.StatusForbidden},
		{"an old browser", map[string]string{"Origin": "http://example.com"}, http.StatusSeeOther},
	} {
		b := k.admin(t)
		for name, value := range c.header {
			b.header.Set(name, value)
		}
		if p := b.post("/ui/sign-out"); p.status != c.want {
			t.Errorf("%s: %d, want %d", c.name, p.status, c.want)
		} else if (len(b.cookies) == 0) != (c.want == http.StatusSeeOther) {
			t.Errorf("%s: the cookies are %v", c.name, b.cookies)
		}
	}
	trusted := http.NewCrossOriginProtection()
	if err := trusted.AddTrustedOrigin("https://secrets.example"); err != nil {
		t.Fatal(err)
	}
	trusting, err := web.New(k.Keep, web.Config{CrossOrigin: trusted})
	if err != nil {
		t.Fatal(err)
	}
	b := k.admin(t)
	b.handler = trusting
	b.header.Set("Origin", "https://secrets.example")
	if p := b.post("/ui/sign-out"); p.status != http.StatusSeeOther {
		t.Errorf("the trusted origin: %d", p.status)
	}
}

// TestLinkFromAnotherSite: browsers don't send the cookie with such a link, so the
// page reloads itself before it asks to sign in.
func TestLinkFromAnotherSite(t *testing.T) {
	k := newKit(t, nil)
	b := k.browser(t)
	b.header.Set("Sec-Fetch-Site", "cross-site")
	for _, path := range []string{"/ui/orgs", "/ui/", "/ui/sign-in"} {
		if p := b.get(path); p.status != 200 || !strings.Contains(p.body, `<meta http-equiv="refresh" content="0">`) {
			t.Errorf("%s without the cookie: %d %s", path, p.status, p.body)
		}
	}
	b.header.Set("Sec-Fetch-Site", "same-origin")
	if p := b.get("/ui/orgs"); p.status != http.StatusUnauthorized {
		t.Errorf("after that: %d", p.status)
	}
}

// TestRefusedIsMissing: what is refused and what doesn't exist get the same answer.
func TestRefusedIsMissing(t *testing.T) {
	k := newKit(t, nil)
	other, err := k.CreateOrganization(t.Context(), k.Operator(t, keep.InfluxDB), "hidden", "")
	if err != nil {
		t.Fatal(err)
	}
	b := k.withToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	missing := b.get("/ui/nothing")
	if missing.status != http.StatusNotFound || !strings.Contains(missing.main(), "This page doesn't exist, or you don't have access to it.") {
		t.Fatalf("a missing page: %d %s", missing.status, missing.main())
	}
	for _, r := range k.handler.Routes() {
		if !strings.Contains(r.Pattern, "{org}") {
			continue
		}
		for _, org := range []string{other.ID.String(), acl.NewID().String(), "x", "0000000000000000"} {
			path := regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(strings.Replace(r.Pattern, "{org}", org, 1), "AAAAAAAAAAAAAAAA")
			p := b.do(r.Method, path, "")
			p.sameAs(t, missing)
		}
	}
}

var once = regexp.MustCompile(`name="once" value="[A-Z2-7]+"`)

// TestPagesRender: every page can be rendered, and no template shows more than its
// view has.
func TestPagesRender(t *testing.T) {
	k := newKit(t, nil)
	if err := web.RenderAll(k.handler); err != nil {
		t.Error(err)
	}
}

// TestEscaping: nothing marks text as safe HTML, so html/template escapes all of it.
func TestEscaping(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	unsafe := regexp.MustCompile(`template\.(HTML|HTMLAttr|JS|JSStr|CSS|URL|Srcset)\b`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if found := unsafe.Find(text); found != nil && !strings.HasSuffix(f, "_test.go") {
			t.Errorf("%s uses %s", f, found)
		}
	}
	script, err := os.ReadFile("assets/app.js")
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|setTimeout\("`).Find(script); found != nil {
		t.Errorf("the script uses %s", found)
	}
	for file, limit := range map[string]int64{"assets/app.css": 20 << 10, "assets/app.js": 20 << 10} {
		if i, err := os.Stat(file); err != nil || i.Size() > limit {
			t.Errorf("%s has %d bytes, %v", file, i.Size(), err)
		}
	}
}

// TestSessionEnds: a session that ends asks to sign in again, and reveals nothing.
func TestSessionEnds(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	k.Clock.Advance(2 * time.Hour)
	p := b.get("/ui/orgs/" + k.Org.String() + "/secrets")
	if p.status != http.StatusUnauthorized || strings.Contains(p.body, "acme") {
		t.Errorf("%d %s", p.status, p.body)
	}
	if status, answer := b.json("GET", "/ui/session"); status != http.StatusUnauthorized || answer["error"] == "" {
		t.Errorf("for the script: %d %v", status, answer)
	}
}

// TestShadowing: no view has a field that hides one of the frame's, which the layout
// would then show.
func TestShadowing(t *testing.T) {
	for _, field := range web.Shadowed() {
		t.Errorf("%s hides a field of the frame", field)
	}
}

// TestBase: behind a proxy that removes a prefix from the paths, every link, form,
// asset, redirect and cookie has it.
func TestBase(t *testing.T) {
	k := newKit(t, nil)
	h, err := web.New(k.Keep, web.Config{Base: "/keep", Secure: func(*http.Request) bool { return true }, Now: k.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	b := k.browser(t)
	b.handler = h
	p := b.post("/ui/sign-in", "username", "admin", "password", k.Password, "to", k.path("/secrets"))
	if got, want := p.header.Get("Location"), "/keep"+k.path("/secrets"); got != want {
		t.Errorf("redirected to %s, want %s", got, want)
	}
	if cookie := p.header.Get("Set-Cookie"); !regexp.MustCompile(`^__Host-fluxkeep-[0-9a-f]{8}=[^;]+; Path=/; HttpOnly; Secure; SameSite=Strict$`).MatchString(cookie) {
		t.Errorf("the cookie is %s", cookie)
	}
	k.MustChange(t, keep.Change{Set: map[string]string{"a": "1"}})
	for _, path := range []string{k.path("/secrets"), k.secretPath(t, "a", ""), k.path("/history"), "/ui/orgs?all", "/ui/me"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		for name, value := range b.cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		h.ServeHTTP(w, r)
		for _, m := range regexp.MustCompile(`(?:href|src|action|formaction|data-value|data-ui)="(/[^"]*)"`).FindAllStringSubmatch(w.Body.String(), -1) {
			if !strings.HasPrefix(m[1], "/keep/ui") {
				t.Errorf("%s has %s", path, m[0])
			}
		}
		if w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// TestOnceHoldsNoForm checks that what is remembered of a form doesn't hold its memory.
func TestOnceHoldsNoForm(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const forms, size = 16, 2 << 20
	before := heap()
	for i := range forms {
		b.post("/ui/sign-in", "username", "nobody", "password", "wrong", "once", strings.Repeat(string(rune('a'+i)), size))
	}
	if after := heap(); after > before+forms*size/2 {
		t.Errorf("%d forms of %d bytes hold %d bytes", forms, size, after-before)
	}
	runtime.KeepAlive(b)
}

// TestMemoryOfStrangers checks that the page that a form without a session leads to is
// part of the sender's share of the memory.
func TestMemoryOfStrangers(t *testing.T) {
	k := newKit(t, nil)
	b := k.browser(t)
	memory := b.limit(512 << 20)
	path := k.path("/secrets/new")
	if p := b.do("POST", path, "value="+strings.Repeat("x", keep.MaxValue)); p.status != 401 {
		t.Error("the largest value is answered with", p.status)
	}
	if p := b.do("POST", path, "value="+strings.Repeat(`"`, 4<<20-6)); p.status != 413 || memory.Used() > 0 {
		t.Error("a page of 20 MiB is answered with", p.status)
	}
}

// TestMemoryOfPages checks that large pages are part of the sender's share of the
// memory, and that what can't be limited in this way has a limit of its own.
func TestMemoryOfPages(t *testing.T) {
	k := newKit(t, nil)
	ch := keep.Change{Set: map[string]string{}}
	for i := range 1001 {
		ch.Set[fmt.Sprintf("%0300d", i)] = "x"
	}
	k.MustChange(t, ch)
	b := k.admin(t)
	b.get(k.path("/secrets")).has(t, 200)
	b.post(k.path("/secrets/snippets"), "all", "1").has(t, 422, "up to 1,000 secrets")
	b.post(k.path("/secrets/snippets"), "all", "1", "filter", "99").has(t, 200)
	memory := b.limit(1 << 20)
	b.get(k.path("/secrets")).has(t, 413, "--max-request-memory")
	b.get(k.path("/history")).has(t, 200)
	if n := memory.Used(); n > 0 {
		t.Errorf("%d bytes stay reserved", n)
	}
}

// TestMemoryOfImports checks that the names in a file are part of the sender's share of
// the memory: parsed, they take far more than their text.
func TestMemoryOfImports(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	memory := b.limit(16 << 20)
	paste := func(content string) *page {
		return b.post(k.path("/secrets/import"), "mode", "merge", "format", "yaml", "content", content)
	}
	if p := paste("a: " + strings.Repeat("x", 512<<10)); p.status != 200 {
		t.Error("a large value is answered with", p.status)
	}
	if p := paste(strings.Repeat("a:\n", 170<<10)); p.status != 413 {
		t.Error("170,000 names are answered with", p.status)
	}
	if n := memory.Used(); n > 0 {
		t.Errorf("%d bytes stay reserved", n)
	}
}

func TestLongTarget(t *testing.T) {
	k := newKit(t, nil)
	p := k.browser(t).post("/ui/sign-in", "username", "admin", "password", k.Password, "to", "/ui/orgs?"+strings.Repeat("x", 1<<20))
	if to := p.header.Get("Location"); to != "/ui/" {
		t.Errorf("the sign-in leads to %.20s…, %d bytes", to, len(to))
	}
}

// The page's script is told where a form leads to, and opens that itself.
func TestFormByScript(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	b.header.Set("X-Requested-With", "XMLHttpRequest")
	p := b.post(k.path("/secrets/new"), "name", "a", "value", "1")
	if to := p.header.Get("Location"); p.status != http.StatusNoContent || !strings.HasSuffix(to, "?done=added") || p.body != "" {
		t.Errorf("%d to %q: %s", p.status, to, p.body)
	}
	if p := b.post(k.path("/secrets/new"), "name", "", "value", "1"); p.status != http.StatusUnprocessableEntity || p.doc == nil {
		t.Errorf("a form with a mistake: %d %s", p.status, p.body)
	}
}

// A token signs in although a username was typed before, as long as no password is.
func TestTokenAfterUsername(t *testing.T) {
	k := newKit(t, nil)
	if p := k.browser(t).post("/ui/sign-in", "username", "admin", "password", "", "token", k.OperatorToken); p.status != http.StatusSeeOther {
		t.Errorf("with a username: %d %s", p.status, p.main())
	}
	if p := k.browser(t).post("/ui/sign-in", "username", "admin", "password", "wrong password", "token", k.OperatorToken); p.status != http.StatusUnauthorized {
		t.Errorf("with a wrong password: %d %s", p.status, p.main())
	}
}
