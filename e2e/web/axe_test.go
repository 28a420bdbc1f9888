package web

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// world has something on every page. The keys of pages are the names of their templates,
// and what is special about them.
func world(t *testing.T) (s *server, pages map[string]string) {
	t.Helper()
	s = start(t)
	s.setUp(map[string]string{
		"db_password": "1", "mqtt_token": "1", "telegraf_key": "1", "smtp_password": "1",
		"a name with \u202e marks": "1", "https://example.com/webhook/sensors": "1",
	})
	s.set(map[string]string{"db_password": "2", "grafana_key": "1"})
	permissions := []map[string]any{
		{"action": "read", "resource": map[string]string{"type": "orgs", "id": s.org}},
		{"action": "read", "resource": map[string]string{"type": "secrets", "orgID": s.org}},
	}
	var token struct{ ID, Token string }
	s.api("POST", "/api/v2/authorizations", map[string]any{"orgID": s.org, "description": "telegraf-eu", "permissions": permissions, "names": []string{"telegraf_*", "mqtt_*"}}, &token)
	operator := s.token
	s.token = token.Token
	s.values()
	s.token = operator
	s.api("POST", "/api/v2/authorizations", map[string]any{"orgID": s.org, "description": "never used", "permissions": permissions}, nil)
	return s, map[string]string{
		"secrets": s.orgPath("/secrets"), "edit: new": s.orgPath("/secrets/new"), "import": s.orgPath("/secrets/import"),
		"history": s.orgPath("/history"), "version": s.orgPath("/history/1"), "compare": s.orgPath("/history/compare?old=1&new=2"),
		"restore": s.orgPath("/history/1/restore"), "access": s.orgPath("/access"), "token": s.orgPath("/access/" + token.ID),
		"new-token": s.orgPath("/access/new"), "new-token: recipe": s.orgPath("/access/new?recipe=names"), "token: delete": s.orgPath("/access/" + token.ID + "/delete"),
		"members": s.orgPath("/members"), "audit": s.orgPath("/audit"), "audit: server": "/ui/audit", "users": "/ui/users",
		"server": "/ui/server", "keys": "/ui/server/keys", "backup": "/ui/server/backup", "me": "/ui/me", "help": "/ui/help",
		"organizations": "/ui/orgs?all", "problem": "/ui/nothing",
	}
}

func (b *tab) look(scheme string) {
	b.t.Helper()
	b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
}

func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.do(emulation.SetDeviceMetricsOverride(width, height, 1, width < 640))
}

// scene is a page in one of its states.
type scene struct {
	template string // in internal/web/templates/pages
	state    string
	bring    func(*tab) // leads the tab there, from the scene before
}

// titles returns the titles that the scene's template can have, none if any is possible.
func (s scene) titles(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("../../internal/web/templates/pages/" + s.template + ".html")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^{{define "title"}}(.*){{end}}$`).FindSubmatch(source)
	if found == nil {
		t.Fatalf("%s has no title", s.template)
	}
	texts := regexp.MustCompile(`{{.*?}}`).Split(string(found[1]), -1)
	return slices.DeleteFunc(texts, func(text string) bool { return text == "" })
}

// notScenes are the templates that no scene shows, and why.
var notScenes = map[string]string{
	"reload": "it opens the page that was asked for at once",
}

// beforeSetup are the scenes of a server that isn't set up.
func beforeSetup() []scene {
	return []scene{
		{"setup", "", func(b *tab) { b.goTo("/ui/setup") }},
		{"setup", "error", func(b *tab) { b.fillSetup("something else"); b.awaitErrors() }},
		{"setup-done", "", func(b *tab) { b.setUp() }},
	}
}

// afterSetup are the scenes of the world.
func afterSetup(s *server, pages map[string]string) []scene {
	scenes := []scene{
		{"sign-in", "", func(b *tab) { b.goTo("/ui/sign-in") }},
		{"sign-in", "error", func(b *tab) {
			b.fill("#username", s.user)
			b.fill("#password", "wrong")
			b.button("Sign in")
			b.awaitErrors()
		}},
		{"secrets", "after signing in", (*tab).signIn},
	}
	for _, key := range slices.Sorted(maps.Keys(pages)) {
		template, state, _ := strings.Cut(key, ": ")
		scenes = append(scenes, scene{template, state, func(b *tab) { b.goTo(pages[key]) }})
	}
	openSecret := func(b *tab) {
		b.goTo(pages["secrets"])
		b.click("tbody th a")
		b.await("Read by")
	}
	return append(scenes, []scene{
		{"user", "", func(b *tab) { b.goTo(pages["users"]); b.click(`main a[href*="/ui/users/"]`); b.await("Created") }},
		{"user", "delete", func(b *tab) { b.goTo(b.path() + "/delete") }},
		{"secret", "", openSecret},
		{"secret", "value", func(b *tab) { b.click("[data-do=show]"); b.await("Keep showing") }},
		{"delete", "", func(b *tab) { b.button("Delete…"); b.await("Delete 1 secret?") }},
		{"delete", "error", func(b *tab) { b.fill("#count", "2"); b.button("Delete 1 secret"); b.awaitErrors() }},
		{"edit", "", func(b *tab) { openSecret(b); b.click("[data-key=e]"); b.await("New value") }},
		{"edit", "conflict", func(b *tab) {
			s.set(map[string]string{"a name with \u202e marks": "theirs"}) // the first one in the list
			b.fill("#value", "mine")
			b.button("Save the new value")
			b.await("What you typed is still here")
		}},
		{"secret", "changed", func(b *tab) { b.click("main form button.main"); b.await("Saved as version") }},
		{"import", "preview", func(b *tab) {
			b.goTo(pages["import"])
			b.do(chromedp.SetValue("#content", "pasted=1\nsmtp_password=2\n", chromedp.ByQuery))
			b.click("[value=replace]")
			b.button("Preview")
			b.await("1 added", "1 changed", "removed")
		}},
		{"secrets", "imported", func(b *tab) { b.button("Apply as one version"); b.await("Applied.") }},
		{"snippets", "", func(b *tab) {
			b.goTo(pages["secrets"])
			b.click("[data-every]")
			b.button("Copy as…")
			b.await("Each snippet holds names")
		}},
		{"new-token-done", "", func(b *tab) {
			b.goTo(pages["new-token: recipe"])
			b.fill("#description", "grafana")
			b.fill("#names", "grafana_*")
			b.button("Create the token")
			b.await("This token is shown once")
		}},
		{"token", "created", func(b *tab) {
			b.click("input[type=checkbox][required]")
			b.button("Continue")
			b.await("grafana_*")
		}},
		{"sign-in", "with a form", func(b *tab) {
			b.goTo(pages["edit: new"])
			b.do(storage.ClearCookies())
			// Not even the script knows that the form is sent.
			b.do(chromedp.Evaluate(`(f => { f.elements.name.value = "sent later"; f.elements.value.value = "1"; setTimeout(() => f.submit()); })(document.querySelector("#value").form); 0`, nil))
			b.await("Your session has ended")
		}},
		{"continue", "", func(b *tab) {
			b.fill("#username", s.user)
			b.fill("#password", s.password)
			b.click("main form button.main")
			b.await("You are signed in again")
		}},
	}...)
}

// awaitErrors waits for a form that was refused.
func (b *tab) awaitErrors() {
	b.t.Helper()
	b.do(chromedp.WaitVisible("#errors", chromedp.ByQuery))
	b.complete()
}

// TestAccessible runs axe-core's rules for WCAG 2.2 AA on every page, in light and dark
// colours, on a desktop and on a phone. Nothing may be wider than the window, no target
// smaller than 24 pixels, and the focus is always visible.
func TestAccessible(t *testing.T) {
	t.Parallel()
	s, pages := world(t)
	empty := start(t)
	script := axeCore(t)
	seen := map[string]bool{}
	show := func(b *tab, scenes []scene) {
		t.Helper()
		for _, scene := range scenes {
			scene.bring(b)
			title := strings.TrimSuffix(eval[string](b, "document.title"), " – Fluxkeep")
			if titles := scene.titles(t); len(titles) > 0 && !slices.Contains(titles, title) {
				t.Errorf("a scene of %s shows the page %q", scene.template, title)
			}
			b.checkAccess(strings.TrimSuffix(scene.template+": "+scene.state, ": "), script)
			seen[scene.template] = true
		}
	}
	show(empty.open("/ui/setup"), beforeSetup())
	show(s.open("/ui/sign-in"), afterSetup(s, pages))

	files, err := filepath.Glob("../../internal/web/templates/pages/*.html")
	if err != nil || len(files) == 0 {
		t.Fatalf("the templates aren't found: %v", err)
	}
	for _, file := range files {
		template := strings.TrimSuffix(filepath.Base(file), ".html")
		if reason := notScenes[template]; reason != "" {
			t.Logf("%s isn't checked: %s", template, reason)
		} else if !seen[template] {
			t.Errorf("%s isn't checked: no scene shows it", template)
		}
	}
}

// checkAccess checks the page that the tab shows.
func (b *tab) checkAccess(name, script string) {
	b.t.Helper()
	b.size(zoomedWidth, 256)
	b.fits(zoomedWidth)
	for _, width := range []int64{phoneWidth, 1280} {
		b.size(width, 800)
		b.fits(width)
		for _, problem := range eval[[]string](b, smallTargets) {
			b.t.Errorf("%s, %d pixels: a target is small: %s", name, width, problem)
		}
	}
	b.checkFocus(name)
	b.do(chromedp.Evaluate(script, nil))
	for _, scheme := range []string{"light", "dark"} {
		b.look(scheme)
		for _, width := range []int64{phoneWidth, 1280} {
			b.size(width, 800)
			b.checkRules(fmt.Sprintf("%s, %s, %d pixels", name, scheme, width))
		}
	}
}

// zoomedWidth is what is left of 1,280 pixels at 400 %.
const zoomedWidth = 320

// TestForcedColors checks that with the system's own colours, as in Windows' contrast
// themes, the focus, the current page and what is selected are still marked.
func TestForcedColors(t *testing.T) {
	t.Parallel()
	s, pages := world(t)
	b := s.signedIn("/secrets")
	b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "forced-colors", Value: "active"}}))
	if !eval[bool](b, `matchMedia("(forced-colors: active)").matches`) {
		t.Fatal("the browser doesn't force colours")
	}
	outlined := func(where, selector string) {
		t.Helper()
		if style := eval[string](b, fmt.Sprintf(`(s => s.outlineStyle + " " + s.outlineWidth)(getComputedStyle(document.querySelector(%q)))`, selector)); style != "solid 2px" {
			t.Errorf("%s: the outline of %s is %s", where, selector, style)
		}
	}
	b.click("tbody tr:nth-child(2) [name=select]")
	outlined("secrets", "tbody tr:has(input:checked)")
	for _, name := range []string{"secrets", "edit: new", "history", "access", "server", "me"} {
		b.goTo(pages[name])
		b.checkFocus(name)
		if name != "me" {
			outlined(name, "nav.wide a[aria-current]")
		}
		for _, problem := range eval[[]string](b, `[...document.querySelectorAll("button:not(.plain), input, textarea, select, .badge, .note")].filter(e => e.checkVisibility() && !e.matches("thead button, [type=checkbox], [type=radio]") && parseFloat(getComputedStyle(e).borderTopWidth) < 1).map(e => e.outerHTML.slice(0, 150))`) {
			t.Errorf("%s: no border: %s", name, problem)
		}
	}
}

// smallTargets returns buttons and fields below 24 pixels, and smaller links, outside
// sentences, and boxes that don't have a square of 24 pixels to themselves.
const smallTargets = `(() => {
	const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")].filter(e => e.checkVisibility() && !e.closest(".away"));
	const rect = e => {
		const list = [e, ...(e.labels ?? [])].map(x => x.getBoundingClientRect()), of = (f, name) => f(...list.map(r => r[name]));
		return {left: of(Math.min, "left"), right: of(Math.max, "right"), top: of(Math.min, "top"), bottom: of(Math.max, "bottom")};
	};
	const rects = new Map(all.map(e => [e, rect(e)]));
	return all.filter(e => {
		const r = rects.get(e), x = (r.left + r.right) / 2, y = (r.top + r.bottom) / 2;
		if (r.right - r.left >= 24 && r.bottom - r.top >= 24) return false;
		if (e.matches("button, .button, summary, select, textarea")) return true;
		if (getComputedStyle(e).display === "inline" && e.closest("p, li, dd, td")) return false;
		return all.some(o => { const q = rects.get(o); return o !== e && q.left < x + 12 && q.right > x - 12 && q.top < y + 12 && q.bottom > y - 12; });
	}).map(e => e.outerHTML.slice(0, 150));
})()`

// focusProblem returns what is wrong with how the focus is shown, "" if nothing is, and
// "end" if the focus has been there before.
const focusProblem = `(() => {
	const e = document.activeElement, seen = window.focusSeen;
	if (!e || e === document.body || seen.has(e)) return "end";
	seen.add(e);
	const style = getComputedStyle(e), r = e.getClientRects()[0];
	const at = document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2);
	if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) return "no outline: " + e.outerHTML.slice(0, 150);
	if (!at || !(at.contains(e) || e.contains(at) || [...(e.labels ?? [])].some(l => l.contains(at)))) return "covered: " + e.outerHTML.slice(0, 150);
	return "";
})()`

// checkFocus presses Tab through the page, from its first link on.
func (b *tab) checkFocus(name string) {
	b.t.Helper()
	b.do(chromedp.Evaluate(`window.focusSeen = new Set(); document.querySelector(".skip").focus()`, nil))
	for count := 0; ; count++ {
		b.press(kb.Tab)
		problem := eval[string](b, focusProblem)
		if problem == "end" {
			if count < 3 {
				b.t.Errorf("%s: Tab reaches only %d elements", name, count)
			}
			return
		}
		if problem != "" {
			b.t.Errorf("%s: the focus isn't visible: %s", name, problem)
		}
	}
}

// checkRules runs axe-core, which has been loaded.
func (b *tab) checkRules(where string) {
	b.t.Helper()
	var found []struct {
		ID, Help string
		Nodes    []struct{ HTML, FailureSummary string }
	}
	if err := json.Unmarshal([]byte(b.axe()), &found); err != nil {
		b.t.Fatal(err)
	}
	for _, f := range found {
		for _, n := range f.Nodes {
			b.t.Errorf("%s: %s (%s): %s\n%s", where, f.Help, f.ID, n.HTML, n.FailureSummary)
		}
	}
}

// axe runs axe-core, which has been loaded, and returns what it finds as JSON.
func (b *tab) axe() string {
	b.t.Helper()
	b.do(chromedp.Evaluate(`window.axeFound = ""; axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r => { window.axeFound = JSON.stringify(r.violations); }, e => { window.axeFound = JSON.stringify([{ID: "axe", Help: String(e), Nodes: [{}]}]); }); 0`, nil))
	found := ""
	b.until("result of axe-core", func() bool { found = eval[string](b, "window.axeFound"); return found != "" })
	return found
}

// TestPictures makes the pictures of docs/web.md, with -pictures.
func TestPictures(t *testing.T) {
	if !*pictures {
		t.Skip("-pictures isn't given")
	}
	s, pages := world(t)
	b := s.open("/ui/sign-in")
	b.signIn()
	dir := filepath.Join("..", "..", "docs", "web")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"secrets", "compare", "access"} {
		for _, scheme := range []string{"light", "dark"} {
			b.look(scheme)
			b.size(1100, 620)
			b.goTo(pages[name])
			var png []byte
			b.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
				png, err = page.CaptureScreenshot().WithFormat(page.CaptureScreenshotFormatPng).WithOptimizeForSpeed(false).Do(ctx)
				return err
			}))
			if err := os.WriteFile(filepath.Join(dir, name+"-"+scheme+".png"), png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestWeight measures what the first page and a long list weigh.
func TestWeight(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(nil)
	s.set(manySecrets(1000))
	b := s.open("/ui/sign-in")
	const weight = `[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, e) => sum + e.transferSize, 0)`
	cold := eval[int](b, weight)
	if cold > 60<<10 {
		t.Errorf("the first page weighs %d bytes", cold)
	}
	b.signIn()
	b.goTo(s.orgPath("/secrets"))
	if rows := eval[int](b, `document.querySelectorAll("tbody tr").length`); rows != 1000 {
		t.Errorf("the list has %d rows", rows)
	}
	list := eval[int](b, `performance.getEntriesByType("navigation")[0].transferSize`)
	if list > 60<<10 {
		t.Errorf("1,000 rows weigh %d bytes", list)
	}
	t.Logf("the first page: %d bytes; 1,000 rows: %d bytes", cold, list)
	if size := eval[int](b, "document.documentElement.outerHTML.length"); strings.Contains(b.text(), "value_") || size > 600<<10 {
		t.Errorf("the list has %d bytes", size)
	}
}
