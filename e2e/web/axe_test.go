package web

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// world has something on every page.
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
		"secrets": s.orgPath("/secrets"), "add": s.orgPath("/secrets/new"), "paste": s.orgPath("/secrets/import"),
		"history": s.orgPath("/history"), "version": s.orgPath("/history/1"), "compare": s.orgPath("/history/compare?old=1&new=2"),
		"restore": s.orgPath("/history/1/restore"), "access": s.orgPath("/access"), "token": s.orgPath("/access/" + token.ID),
		"new-token": s.orgPath("/access/new"), "recipe": s.orgPath("/access/new?recipe=names"), "delete-token": s.orgPath("/access/" + token.ID + "/delete"),
		"members": s.orgPath("/members"), "audit": s.orgPath("/audit"), "server-audit": "/ui/audit", "users": "/ui/users",
		"server": "/ui/server", "keys": "/ui/server/keys", "backup": "/ui/server/backup", "me": "/ui/me", "help": "/ui/help",
		"organizations": "/ui/orgs?all", "missing": "/ui/nothing",
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

// TestAccessible runs axe-core's rules for WCAG 2.2 AA on every page, in light colours
// on a desktop and in dark ones on a phone. Nothing may be wider than the window.
func TestAccessible(t *testing.T) {
	t.Parallel()
	s, pages := world(t)
	script := axeCore(t)
	b := s.open("/ui/sign-in")
	check := func(name string) {
		t.Helper()
		b.do(chromedp.Evaluate(script, nil))
		for scheme, width := range map[string]int64{"light": 1280, "dark": 360} {
			b.look(scheme)
			b.size(width, 800)
			where := fmt.Sprintf("%s, %s, %d pixels", name, scheme, width)
			if wide := eval[int64](b, "document.documentElement.scrollWidth"); wide > width {
				t.Errorf("%s: the page is %d pixels wide", where, wide)
			}
			var found []struct {
				ID, Help string
				Nodes    []struct{ HTML, FailureSummary string }
			}
			if err := json.Unmarshal([]byte(b.axe()), &found); err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				for _, n := range f.Nodes {
					t.Errorf("%s: %s (%s): %s\n%s", where, f.Help, f.ID, n.HTML, n.FailureSummary)
				}
			}
		}
	}
	check("sign-in")
	b.signIn()
	for name, path := range pages {
		b.goTo(path)
		check(name)
	}
	b.goTo(s.orgPath("/secrets"))
	b.size(1280, 800)
	b.click("tbody th a")
	b.await("Read by")
	check("secret")
	b.click("[data-do=show]")
	b.await("Keep showing")
	check("secret with its value")
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

// TestWeight measures what the first page weighs, and how long a list takes.
func TestWeight(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.setUp(nil)
	secrets := map[string]string{}
	for i := range 1000 {
		secrets[fmt.Sprintf("secret_%04d", i)] = "value"
	}
	s.set(secrets)
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
	drawn := eval[float64](b, `(() => { const n = performance.getEntriesByType("navigation")[0]; return n.domContentLoadedEventEnd - n.responseEnd })()`)
	t.Logf("the first page: %d bytes; 1,000 rows: %d bytes, parsed in %.0f ms", cold, list, drawn)
	if size := eval[int](b, "document.documentElement.outerHTML.length"); strings.Contains(b.text(), "value_") || size > 600<<10 {
		t.Errorf("the list has %d bytes", size)
	}
}
