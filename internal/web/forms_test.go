package web_test

import (
	"context"
	"html"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/audit"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/seal"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// filledForm is a form of a page that somebody filled in, and a way to send it.
type filledForm struct {
	route string // without /ui
	page  string // without /ui; the page that has the form
	// first is the button that leads from the page to the form, if that isn't on it.
	first  []string
	button string
	typed  []string // names and values of fields
	// record is the action of the change, "" if the form only asks.
	record string
	// to is where sending the form a second time leads, if the first time shows what is
	// never shown again.
	to string
	// meanwhile is a change by somebody else that conflicts with the form's.
	meanwhile map[string]string
}

// filledForms are the forms of all routes that need a session.
var filledForms = []filledForm{
	{route: "/sign-out", page: "/me", button: "Sign out", record: "sessions.delete"},
	{route: "/orgs/{org}/secrets", page: "/orgs/{org}/secrets", button: "Filter", typed: []string{"filter", "b"}},
	{route: "/orgs/{org}/secrets/new", page: "/orgs/{org}/secrets/new", button: "Add the secret", typed: []string{"name", "new", "value", "typed"}, record: "secrets.write",
		meanwhile: map[string]string{"new": "theirs"}},
	{route: "/orgs/{org}/secrets/delete", page: "/orgs/{org}/secrets", button: "Delete…", typed: []string{"select", "{ref}"}},
	{route: "/orgs/{org}/secrets/delete", page: "/orgs/{org}/secrets/{ref}", first: []string{"Delete…"}, button: "Delete 1 secret", typed: []string{"count", "1"}, record: "secrets.write",
		meanwhile: map[string]string{"a": "theirs"}},
	{route: "/orgs/{org}/secrets/snippets", page: "/orgs/{org}/secrets", button: "Copy as…", typed: []string{"select", "{ref}"}},
	{route: "/orgs/{org}/secrets/import", page: "/orgs/{org}/secrets/import", button: "Preview", typed: []string{"content", "pasted=1\n"}},
	{route: "/orgs/{org}/secrets/import", page: "/orgs/{org}/secrets/import", first: []string{"Preview", "content", "a=pasted\n"}, button: "Apply as one version", record: "secrets.write",
		meanwhile: map[string]string{"a": "theirs"}},
	{route: "/orgs/{org}/secrets/{ref}/restore", page: "/orgs/{org}/secrets/{ref}", button: "Restore", record: "secrets.rollback",
		meanwhile: map[string]string{"a": "theirs"}},
	{route: "/orgs/{org}/secrets/{ref}/edit", page: "/orgs/{org}/secrets/{ref}/edit", button: "Save the new value", typed: []string{"value", "typed"}, record: "secrets.write",
		meanwhile: map[string]string{"a": "theirs"}},
	{route: "/orgs/{org}/history/{version}/restore", page: "/orgs/{org}/history/{version}/restore", button: "Restore as version 3", record: "secrets.rollback",
		meanwhile: map[string]string{"c": "theirs"}},
	{route: "/orgs/{org}/access/new", page: "/orgs/{org}/access/new?recipe=ci", button: "Create the token", typed: []string{"description", "deploy"}, record: "tokens.create",
		to: `^/ui/orgs/[0-9a-f]{16}/access/[0-9a-f]{16}\?done=created$`},
	{route: "/orgs/{org}/access/{token}/status", page: "/orgs/{org}/access/{token}", button: "Deactivate", record: "tokens.update"},
	{route: "/orgs/{org}/access/{token}/delete", page: "/orgs/{org}/access/{token}/delete", button: "Delete the token", record: "tokens.delete"},
	{route: "/orgs/{org}/members", page: "/orgs/{org}/members", button: "Add the user", typed: []string{"name", "stranger"}, record: "members.add"},
	{route: "/orgs/{org}/members/{user}/remove", page: "/orgs/{org}/members", button: "Remove member", record: "members.remove"},
	{route: "/orgs/{org}/audit", page: "/orgs/{org}/audit", button: "Filter", typed: []string{"secret", "a"}},
	{route: "/audit", page: "/audit", button: "Filter", typed: []string{"secret", "a"}},
	{route: "/users", page: "/users", button: "Add the user", typed: []string{"name", "ann"}, record: "users.create"},
	{route: "/users/{user}/status", page: "/users/{user}", button: "Deactivate", record: "users.update"},
	{route: "/users/{user}/password", page: "/users/{user}", button: "Set the password", typed: []string{"password", "battery staple 2", "repeat", "battery staple 2"}, record: "users.password"},
	{route: "/users/{user}/delete", page: "/users/{user}/delete", button: "Delete the user", record: "users.delete"},
	{route: "/server/keys", page: "/server/keys", button: "Rotate the data key", record: "keys.rotate"},
	{route: "/server/backup", page: "/server/backup", button: "Download a backup", record: "backup", to: `^/ui/server/backup\?done=made$`},
	{route: "/me/password", page: "/me", button: "Change the password", typed: []string{"password", "battery staple 2", "repeat", "battery staple 2"}, record: "users.password"},
	{route: "/me/preferences", page: "/me", button: "Save"},
}

// otherForms are the forms of routes that need no session, or that no page has.
var otherForms = map[string]string{
	"/setup":                          "TestSetup",
	"/sign-in":                        "makes a session each time",
	"/orgs/{org}/secrets/{ref}/value": "a read by the page's script",
}

// open opens the page and fills in the form.
func (f *filledForm) open(t *testing.T, c *cast, b *browser) (action string, fields []string) {
	t.Helper()
	p := b.get(c.fill("/ui" + f.page))
	if len(f.first) > 0 {
		p = b.press(p, f.first[0], f.first[1:]...)
	}
	var typed []string
	for _, text := range f.typed {
		typed = append(typed, c.fill(text))
	}
	if f.route == "/me/password" {
		typed = append(typed, "old", c.Password)
	}
	return p.filled(t, f.button, typed...)
}

// records counts the records of the form's change from an offset of the audit log on.
func (f *filledForm) records(t *testing.T, c *cast, from int64) (n int) {
	t.Helper()
	records, _ := c.AuditRecords(t, from)
	for _, r := range records {
		if r.Action == f.record && r.Outcome == audit.Allowed {
			n++
		}
	}
	return n
}

// carriedOut fails unless an answer is that to a form that was carried out, once.
func (f *filledForm) carriedOut(t *testing.T, c *cast, p *page, from int64) {
	t.Helper()
	if p.status >= 400 {
		t.Errorf("the answer is %d: %s", p.status, p.main())
	}
	if n := f.records(t, c, from); f.record != "" && n != 1 {
		t.Errorf("there are %d records of %s, want 1", n, f.record)
	}
}

// leadsBack fails unless the second answer leads to the result of the first one.
func (f *filledForm) leadsBack(t *testing.T, first, second *page) {
	t.Helper()
	to := second.header.Get("Location")
	switch {
	case f.record == "":
		if cookies := "Set-Cookie"; first.status != second.status || !slices.Equal(first.header[cookies], second.header[cookies]) {
			t.Errorf("the first time is answered with %d and the cookies %q, the second with %d and %q: %s",
				first.status, first.header[cookies], second.status, second.header[cookies], second.main())
		}
	case second.status != http.StatusSeeOther:
		t.Errorf("the second time is answered with %d: %s", second.status, second.main())
	case f.to == "" && to != first.header.Get("Location"), !regexp.MustCompile(f.to).MatchString(to):
		t.Errorf("the first time leads to %q, the second to %q", first.header.Get("Location"), to)
	}
}

// forEachForm runs a test for each form, each on a copy of the same data.
func forEachForm(t *testing.T, wrap func(store.Store) store.Store, fn func(*testing.T, *filledForm, *cast)) {
	t.Helper()
	beginning := newCast(t, &keeptest.Options{Wrap: wrap, Configure: func(c *keep.Config) {
		c.SaveKeys = func(context.Context, *seal.Keys) error { return nil }
	}})
	for _, f := range filledForms {
		t.Run(strings.Trim(f.route, "/")+" "+f.button, func(t *testing.T) { fn(t, &f, beginning.clone(t)) })
	}
}

// TestFormsAreListed: the tables have the forms of all routes.
func TestFormsAreListed(t *testing.T) {
	listed := maps.Clone(otherForms)
	for _, f := range filledForms {
		listed[f.route] = f.page
	}
	for _, r := range newKit(t, nil).handler.Routes() {
		if _, ok := listed[strings.TrimPrefix(r.Pattern, "/ui")]; r.Method == http.MethodPost && !ok {
			t.Errorf("the form of %s is in no table", r.Pattern)
		}
	}
}

// TestEveryFormTwice: a form that is sent again, after a reload or from the browser's
// history, leads where it led the first time, and nothing happens twice.
func TestEveryFormTwice(t *testing.T) {
	forEachForm(t, nil, func(t *testing.T, f *filledForm, c *cast) {
		b := c.people["operator"]
		action, fields := f.open(t, c, b)
		_, start := c.AuditRecords(t, 0)
		first := b.post(action, fields...)
		f.carriedOut(t, c, first, start)
		contents := c.Contents(t)
		_, end := c.AuditRecords(t, 0)
		second := b.post(action, fields...)
		f.leadsBack(t, first, second)
		rotating := f.record == "keys.rotate" // which changes the records in the background
		if !rotating && !maps.Equal(contents, c.Contents(t)) {
			t.Error("the second time changes something")
		}
		if records, _ := c.AuditRecords(t, end); f.record != "" && len(records) > 0 {
			t.Errorf("the second time has the records %v", records)
		}
		if second.status == http.StatusSeeOther {
			b.follow(second).has(t, http.StatusOK)
		}
	})
}

// TestDoubleClick: the two forms of a double click arrive together, and one is carried
// out.
func TestDoubleClick(t *testing.T) {
	forEachForm(t, nil, func(t *testing.T, f *filledForm, c *cast) {
		b := c.people["operator"]
		action, fields := f.open(t, c, b)
		_, start := c.AuditRecords(t, 0)
		answers := make(chan *page)
		for range 2 {
			go func() { answers <- b.clone().post(action, fields...) }()
		}
		first, second := <-answers, <-answers
		if first.status == http.StatusSeeOther && second.status == http.StatusOK {
			first, second = second, first
		}
		f.carriedOut(t, c, first, start)
		f.leadsBack(t, first, second)
	})
}

// keeps fails unless a page shows what was typed into the form, but for passwords, which
// no page ever shows.
func (f *filledForm) keeps(t *testing.T, c *cast, p *page) {
	t.Helper()
	for i := 0; i < len(f.typed); i += 2 {
		name, text := f.typed[i], c.fill(f.typed[i+1])
		if name != "password" && name != "repeat" && !strings.Contains(html.UnescapeString(p.body), text) {
			t.Errorf("the answer has lost the %s that was typed: %s", name, p.main())
		}
	}
}

// TestEveryFormWithoutSession: a form that arrives after the session has ended is carried
// out once its user has signed in again and confirms it.
func TestEveryFormWithoutSession(t *testing.T) {
	forEachForm(t, nil, func(t *testing.T, f *filledForm, c *cast) {
		if f.route == "/sign-out" {
			t.Skip("it ends the session")
		}
		b := c.people["operator"]
		action, fields := f.open(t, c, b)
		contents := c.Contents(t)
		c.Clock.Advance(2 * time.Hour)
		_, start := c.AuditRecords(t, 0)
		p := b.post(action, fields...)
		p.has(t, http.StatusUnauthorized, "Your session has ended.")
		f.keeps(t, c, p)
		if !maps.Equal(contents, c.Contents(t)) {
			t.Error("it changes something without a session")
		}
		p = b.press(p, "Sign in", "username", "admin", "password", c.Password)
		p.has(t, http.StatusOK, "You are signed in again")
		f.carriedOut(t, c, b.press(p, "Send it now"), start)
	})
}

// TestEveryConflict: a form doesn't undo what somebody else has changed since it was
// opened, and keeps what was typed.
func TestEveryConflict(t *testing.T) {
	forEachForm(t, nil, func(t *testing.T, f *filledForm, c *cast) {
		if f.meanwhile == nil {
			t.Skip("nothing conflicts with it")
		}
		b := c.people["operator"]
		action, fields := f.open(t, c, b)
		c.MustChange(t, keep.Change{Set: f.meanwhile})
		p := b.post(action, fields...)
		p.has(t, http.StatusConflict)
		f.keeps(t, c, p)
		got := c.MustValues(t)
		for name, value := range f.meanwhile {
			if got[name] != value {
				t.Errorf("%s is now %q", name, got[name])
			}
		}
	})
}

// TestEveryFormOnFullDisk: a form that can't be carried out changes nothing and keeps what
// was typed, so that it can be sent again later.
func TestEveryFormOnFullDisk(t *testing.T) {
	var left atomic.Int64
	wrap := func(s store.Store) store.Store { return &keeptest.FullStore{Store: s, Left: &left} }
	forEachForm(t, wrap, func(t *testing.T, f *filledForm, c *cast) {
		b := c.people["operator"]
		action, fields := f.open(t, c, b)
		contents := c.Contents(t)
		_, start := c.AuditRecords(t, 0)
		left.Store(int64(store.LastReserve) + 1)
		p := b.post(action, fields...)
		left.Store(0)
		if !maps.Equal(contents, c.Contents(t)) {
			t.Error("it changes something")
		}
		if f.record == "" || f.record == "backup" || f.record == "keys.rotate" { // not a change of the store
			f.carriedOut(t, c, p, start)
			return
		}
		p.has(t, http.StatusServiceUnavailable, "too little space", "Trying again is safe.")
		f.keeps(t, c, p)
		if n := f.records(t, c, start); n > 0 {
			t.Errorf("there are %d records of %s", n, f.record)
		}
		f.carriedOut(t, c, b.post(action, fields...), start)
	})
}

// TestEveryFormTooLarge: a form that is too large changes nothing.
func TestEveryFormTooLarge(t *testing.T) {
	c := newCast(t, nil)
	contents := c.Contents(t)
	for _, r := range c.handler.Routes() {
		if r.Method != http.MethodPost {
			continue
		}
		p := c.people["operator"].do(http.MethodPost, c.fill(r.Pattern), "user="+strings.Repeat("x", 4<<20+1))
		p.has(t, http.StatusRequestEntityTooLarge, "Nothing was changed.")
	}
	if !maps.Equal(contents, c.Contents(t)) {
		t.Error("something was changed")
	}
}
