package web_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"golang.org/x/net/html"
)

// TestCrawl signs in as each kind of caller and follows every link. Those who see
// different forms send each of them, as it is and without input. No link is dead, no
// form has a field or an address that the route table lacks, and nothing is an internal
// error.
func TestCrawl(t *testing.T) {
	beginning := newCast(t, nil)
	pages, forms := 0, 0
	sent := map[string]bool{} // one of each kind of form on each kind of page
	for i, kind := range kinds {
		if testing.Short() && i%4 != 0 {
			continue
		}
		c := beginning.clone(t)
		seen := map[string]*page{}
		queue := []string{"/ui/", "/ui/help", "/ui/sign-in", "/ui/orgs?all"}
		for len(queue) > 0 {
			path := queue[0]
			queue = queue[1:]
			if seen[path] != nil {
				continue
			}
			p := c.people[kind].get(path)
			seen[path] = p
			pages++
			switch {
			case p.status == http.StatusSeeOther:
				queue = append(queue, p.header.Get("Location"))
			case p.status != 200 && !(kind == "nobody" && p.status == 401):
				t.Errorf("%s: %s answered %d", kind, path, p.status)
			}
			for _, a := range p.all("a") {
				if href := attr(a, "href"); !strings.HasPrefix(href, "#") {
					queue = append(queue, resolve(t, path, href))
				}
			}
		}
		if !slices.Contains([]string{"nobody", "limited", "blind", "member", "operator"}, kind) {
			continue
		}
		for _, path := range sortedKeys(seen) {
			for _, form := range seen[path].all("form") {
				if attr(form, "action") == "" {
					continue
				}
				for _, button := range seen[path].all("button") {
					if seen[path].formOf(button) != form || attr(button, "type") == "button" {
						continue
					}
					which := strings.Join([]string{kind, hexadecimal.ReplaceAllString(path, "ID"), hexadecimal.ReplaceAllString(attr(form, "action"), "ID"), text(button)}, " ")
					if sent[which] {
						continue
					}
					sent[which] = true
					forms++
					sendForm(t, c.people[kind], kind, seen[path], button)
					if kind != "nobody" && c.people[kind].get("/ui/session").status != 200 {
						c = beginning.clone(t)
					}
				}
			}
		}
	}
	t.Logf("%d pages, %d forms", pages, forms)
	if !testing.Short() && (pages < 100 || forms < 100) {
		t.Error("too few to be all")
	}
}

var hexadecimal = regexp.MustCompile(`[0-9a-f]{16}|/[A-Za-z0-9_-]{16}\b|\d+|[?].*`)

// sendForm sends the form of a button, and again without what a user could type.
func sendForm(t *testing.T, b *browser, kind string, p *page, button *html.Node) {
	t.Helper()
	action, fields := p.filledBy(t, button)
	if attr(p.formOf(button), "method") == "get" {
		if got := b.get(action + "?" + encode(fields)); got.status >= 400 {
			t.Errorf("%s: the form to %s answered %d", kind, action, got.status)
		}
		return
	}
	empty := slices.Clone(fields)
	for i := 0; i < len(empty); i += 2 {
		if empty[i] != "once" && empty[i] != "user" {
			empty[i+1] = ""
		}
	}
	for _, send := range [][]string{fields, empty} {
		got := b.post(action, send...)
		switch {
		case got.status >= 500, got.status == 405, got.status == 403 && got.main() == "":
			t.Errorf("%s: the form to %s of %s answered %d: %s", kind, action, p.path, got.status, got.main())
		case strings.Contains(got.main(), "Invalid form") && slices.Equal(send, fields):
			t.Errorf("%s: the form to %s of %s has a field that its route lacks: %q", kind, action, p.path, fields)
		}
	}
}

func encode(fields []string) string {
	q := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		q.Add(fields[i], fields[i+1])
	}
	return q.Encode()
}

func resolve(t *testing.T, base, href string) string {
	t.Helper()
	b, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u, err := b.Parse(href)
	if err != nil || u.Host != "" {
		t.Fatalf("%s links to %q", base, href)
	}
	u.Fragment = ""
	return u.String()
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// hostile are names and values that break careless programs.
var hostile = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "' onmouseover='x", "{{.}} {{template \"main\"}} ${7*7} <%= 1 %>", "</textarea></title></td>",
	"javascript:alert(1)", "a..b", "a/b", "/", "%2F", "%00", "a?b#c&d=e", `\`, "`id`", "$(id)", "'; DROP TABLE secrets; --", "-rf", "--help", "=1+1", "@{x:y}",
	strings.Repeat("n", 1024), strings.Repeat("é", 512), "👩‍👩‍👧‍👦", "🏳️‍🌈", "a\u202eb\u202c", "\u2067rtl\u2069", "مرحبا", "שלום", "e\u0301\u0301\u0301", "\u200b", "\u00a0",
	"line\nbreak", "\n", "\r", "\r\n", "tab\there", " lead", "trail ", "\u2028\u2029", "раурal", "ﬁ", "\ufeff", "\u0085", "\x01\x1b[31m", "\u3164",
}

// TestHostileNames: any name can be added, is shown with nothing hidden and nothing
// executed, is nowhere in a path or a title, and its value comes back byte for byte.
func TestHostileNames(t *testing.T) {
	k := newKit(t, nil)
	b := k.admin(t)
	for i, name := range hostile {
		value := hostile[len(hostile)-1-i]
		if strings.Contains(strings.ReplaceAll(value, "\r\n", ""), "\r") || strings.Contains(name, "\r") {
			k.MustChange(t, keep.Change{Set: map[string]string{name: value}}) // browsers send no lone CR
		} else {
			p := b.post(k.path("/secrets/new"), "name", name, "value", value, "anyway", "1")
			if p.status != http.StatusSeeOther {
				t.Fatalf("%q: %d %s", name, p.status, p.main())
			}
			value = strings.ReplaceAll(value, "\r\n", "\n")
		}
		path := k.secretPath(t, name, "")
		if !regexp.MustCompile(`^/ui/orgs/[0-9a-f]{16}/secrets/[A-Za-z0-9_-]{16}$`).MatchString(path) {
			t.Errorf("%q has the path %s", name, path)
		}
		status, answer := b.json("POST", path+"/value")
		if status != 200 || answer["value"] != value {
			t.Errorf("%q: %d %q, want %q", name, status, answer["value"], value)
		}
		for _, rest := range []string{"", "/edit"} {
			p := b.get(path + rest)
			if p.status != 200 || text(p.all("title")[0]) != map[string]string{"": "Secret", "/edit": "Change a secret"}[rest]+" – Fluxkeep" {
				t.Errorf("%q%s: %d, %s", name, rest, p.status, text(p.all("title")[0]))
			}
			if got := shownName(p.all("h1")[0]); got != name {
				t.Errorf("%s shows %q, want %q", path+rest, got, name)
			}
		}
		b.post(k.path("/secrets/delete"), "select", k.ref(t, name)).has(t, 200)
		b.post(k.path("/secrets/snippets"), "select", k.ref(t, name)).has(t, 200)
		b.post(k.path("/secrets"), "filter", name).has(t, 200)
	}
	for _, path := range []string{"/secrets", "/secrets?sort=changed&desc", "/history", "/history/" + fmt.Sprint(len(hostile)-2), "/history/compare?old=" + fmt.Sprint(len(hostile)-5) + "&new=0"} {
		b.get(k.path(path)).has(t, 200)
	}
}

// shownName returns the name that a <bdi> shows, from its text and its marks.
func shownName(n *html.Node) string {
	var name strings.Builder
	for d := range n.Descendants() {
		if d.Type != html.TextNode || !inElement(d, "bdi") {
			continue
		}
		if attr(d.Parent, "class") == "cp" {
			var r rune
			if _, err := fmt.Sscanf(d.Data, "U+%X", &r); err == nil {
				name.WriteRune(r)
			}
			continue
		}
		name.WriteString(d.Data)
	}
	return name.String()
}

func inElement(n *html.Node, tag string) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Data == tag {
			return true
		}
	}
	return false
}

// FuzzForms sends any form to any route. Nothing may be an internal error or change a
// secret that the caller couldn't.
func FuzzForms(f *testing.F) {
	c := newCast(f, nil)
	routes := c.handler.Routes()
	for i := range routes {
		f.Add(uint8(i), uint8(2), "once=x&user=&name=a&value=b&select=x&filter=%00&version=99999999999999999999")
		f.Add(uint8(i), uint8(7), "content=%EF%BB%BFA%3D1&format=dotenv&mode=replace&apply=1&tag=x&digest=y&confirm=1&count=1&all=1")
	}
	for _, h := range hostile {
		f.Add(uint8(len(h)), uint8(len(h)), "name="+url.QueryEscape(h)+"&value="+url.QueryEscape(h)+"&filter="+url.QueryEscape(h)+"&action="+url.QueryEscape(h))
	}
	f.Fuzz(func(t *testing.T, route, kind uint8, body string) {
		r := routes[int(route)%len(routes)]
		who := kinds[int(kind)%len(kinds)]
		if strings.HasSuffix(r.Pattern, "/sign-out") || strings.HasSuffix(r.Pattern, "/password") {
			return // ends the session
		}
		b := c.people[who].clone()
		b.tb = t
		path := c.fill(r.Pattern)
		if r.Method == "GET" {
			path, body = path+"?"+url.PathEscape(body), ""
			if _, err := url.ParseRequestURI(path); err != nil || strings.ContainsAny(path, " \x7f") {
				return
			}
		}
		p := b.do(r.Method, path, body)
		if p.status >= 500 {
			t.Errorf("%s %s by %s answered %d to %s: %s", r.Method, r.Pattern, who, p.status, hex.EncodeToString([]byte(body)), p.main())
		}
	})
}
