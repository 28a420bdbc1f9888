package web_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/web"
	"go.uber.org/goleak"
	"golang.org/x/net/html"
)

// TestMain checks that no goroutine is left once everything is closed.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kit is the page of a server that is set up.
type kit struct {
	*keeptest.Kit
	handler *web.Handler
}

func newKit(tb testing.TB, o *keeptest.Options) *kit {
	tb.Helper()
	k := &kit{Kit: keeptest.New(tb, o)}
	k.handler = newHandler(tb, k.Kit)
	return k
}

func newHandler(tb testing.TB, k *keeptest.Kit) *web.Handler {
	tb.Helper()
	h, err := web.New(k.Keep, web.Config{Version: "1.2.3", Now: k.Clock.Now})
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// browser is a browser without script.
type browser struct {
	tb      testing.TB
	handler http.Handler
	cookies map[string]string
	header  http.Header // of the next requests
}

func (k *kit) browser(tb testing.TB) *browser {
	return &browser{tb: tb, handler: k.handler, cookies: map[string]string{}, header: http.Header{}}
}

// admin returns a browser in which the first user is signed in.
func (k *kit) admin(tb testing.TB) *browser {
	tb.Helper()
	b := k.browser(tb)
	b.signIn("admin", k.Password)
	return b
}

// withToken returns a browser in which a new token with the permissions is signed
// in.
func (k *kit) withToken(tb testing.TB, n keep.NewToken) *browser {
	tb.Helper()
	b := k.browser(tb)
	if p := b.post("/ui/sign-in", "token", k.MustToken(tb, n).Value); p.status != http.StatusSeeOther {
		tb.Fatalf("sign-in with a token: %d %s", p.status, p.body)
	}
	return b
}

// limit limits the memory of the browser's requests, and returns what they use.
func (b *browser) limit(total int64) *httpapi.Budget {
	limits := &httpapi.Limits{Memory: httpapi.NewBudget(total, 0)}
	handler := b.handler
	b.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &httpapi.Exchange{Limits: limits}
		defer x.Release()
		handler.ServeHTTP(w, r.WithContext(httpapi.WithExchange(r.Context(), x)))
	})
	return limits.Memory
}

func (b *browser) signIn(user, password string) {
	b.tb.Helper()
	if p := b.post("/ui/sign-in", "username", user, "password", password); p.status != http.StatusSeeOther {
		b.tb.Fatalf("sign-in: %d %s", p.status, p.body)
	}
}

// page is an answer.
type page struct {
	status int
	header http.Header
	body   string // as it was before compression
	path   string // that was asked for
	doc    *html.Node
}

func (b *browser) get(path string) *page { b.tb.Helper(); return b.do("GET", path, "") }

// post sends a form; fields are names and values.
func (b *browser) post(path string, fields ...string) *page {
	b.tb.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return b.do("POST", path, form.Encode())
}

func (b *browser) do(method, path, body string) *page {
	b.tb.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for name, values := range b.header {
		r.Header[name] = values
	}
	if method == "POST" && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	p := &page{status: w.Code, header: w.Header(), path: path}
	text := w.Body.Bytes()
	if p.header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			b.tb.Fatal(err)
		}
		if text, err = io.ReadAll(z); err != nil {
			b.tb.Fatal(err)
		}
	}
	p.body = string(text)
	if strings.HasPrefix(p.header.Get("Content-Type"), "text/html") && p.status != http.StatusSeeOther {
		p.doc = checkHTML(b.tb, method+" "+path, p.body)
	}
	return p
}

// follow gets the page to which a POST redirected.
func (b *browser) follow(p *page) *page {
	b.tb.Helper()
	if p.status != http.StatusSeeOther {
		b.tb.Fatalf("%s answered %d, no redirect: %s", p.path, p.status, p.main())
	}
	return b.get(p.header.Get("Location"))
}

// json asks as the page's script does.
func (b *browser) json(method, path string, fields ...string) (status int, answer map[string]string) {
	b.tb.Helper()
	b.header.Set("Accept", "application/json")
	defer b.header.Del("Accept")
	var p *page
	if method == "GET" {
		p = b.get(path)
	} else {
		p = b.post(path, fields...)
	}
	if err := json.Unmarshal([]byte(p.body), &answer); err != nil {
		b.tb.Fatalf("%s %s: %v in %s", method, path, err, p.body)
	}
	return p.status, answer
}

// main returns the text of the page's main part.
func (p *page) main() string {
	if p.doc == nil {
		return p.body
	}
	var text strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			text.WriteString(n.Data)
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
		if n.Type != html.ElementNode {
			return
		}
		switch n.Data {
		case "td", "th", "p", "li", "div", "button", "dt", "dd", "h1", "h2", "h3", "a", "label":
			text.WriteByte(' ')
		}
	}
	for _, n := range p.all("main") {
		walk(n)
	}
	return strings.Join(strings.Fields(text.String()), " ")
}

// all returns the elements with a tag.
func (p *page) all(tag string) (found []*html.Node) {
	if p.doc == nil {
		return nil
	}
	for n := range p.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == tag {
			found = append(found, n)
		}
	}
	return found
}

// attr returns an attribute, "" if there is none.
func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func hasAttr(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

// checkHTML parses a page strictly: what a parser would repair is an error. IDs are
// unique, each field has a label, and there is no inline script, style or handler.
func checkHTML(tb testing.TB, where, text string) *html.Node {
	tb.Helper()
	wrong := func(format string, args ...any) {
		tb.Helper()
		tb.Errorf(where+": "+format, args...)
	}
	checkTags(tb, where, text)
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		tb.Fatalf("%s: %v", where, err)
	}
	ids, labels := map[string]bool{}, map[string]bool{}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				wrong("two elements have the ID %q", id)
			}
			ids[id] = true
		}
		if n.Data == "label" {
			labels[attr(n, "for")] = true
		}
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				wrong("<%s> has %s", n.Data, a.Key)
			}
			for _, refers := range []string{"for", "aria-labelledby", "aria-describedby", "aria-controls"} {
				if a.Key == refers {
					for id := range strings.FieldsSeq(a.Val) {
						if !ids[id] {
							wrong("<%s %s> refers to the missing ID %q", n.Data, a.Key, id)
						}
					}
				}
			}
		}
		switch n.Data {
		case "style":
			wrong("there is a <style>")
		case "script":
			if attr(n, "src") == "" || n.FirstChild != nil {
				wrong("there is an inline script")
			}
		case "img":
			if !hasAttr(n, "alt") {
				wrong("an image has no alt")
			}
		case "form":
			if attr(n, "method") == "post" && !strings.HasPrefix(attr(n, "action"), "/ui/") {
				wrong("a form's action is %q", attr(n, "action"))
			}
		case "button":
			if n.FirstChild == nil && attr(n, "aria-label") == "" {
				wrong("a button has no text")
			}
		case "input", "select", "textarea":
			if attr(n, "type") == "hidden" || labels[attr(n, "id")] && attr(n, "id") != "" || inLabel(n) ||
				attr(n, "aria-label") != "" || attr(n, "aria-labelledby") != "" {
				continue
			}
			wrong("<%s name=%q> has no label", n.Data, attr(n, "name"))
		}
	}
	return doc
}

func inLabel(n *html.Node) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Data == "label" {
			return true
		}
	}
	return false
}

// checkTags checks that every element is closed in order, without the parser's
// repairs.
func checkTags(tb testing.TB, where, text string) {
	tb.Helper()
	void := map[string]bool{"meta": true, "link": true, "input": true, "img": true, "br": true, "hr": true}
	implied := map[string]bool{}
	var open []string
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if len(open) > 0 {
				tb.Errorf("%s: <%s> isn't closed", where, open[len(open)-1])
			}
			return
		case html.StartTagToken:
			t := z.Token()
			seen := map[string]bool{}
			for _, a := range t.Attr {
				if seen[a.Key] {
					tb.Errorf("%s: <%s> has %s twice", where, t.Data, a.Key)
				}
				seen[a.Key] = true
			}
			if void[t.Data] || implied[t.Data] {
				continue
			}
			switch t.Data {
			case "p", "ul", "ol", "div", "table", "form", "h1", "h2", "h3", "pre", "dl":
				for _, o := range open {
					if o == "p" || o == "h1" || o == "h2" || o == "button" {
						tb.Errorf("%s: <%s> inside <%s>", where, t.Data, o)
					}
				}
			}
			open = append(open, t.Data)
		case html.EndTagToken:
			t := z.Token()
			if len(open) == 0 || open[len(open)-1] != t.Data {
				tb.Errorf("%s: </%s> closes %v", where, t.Data, open)
				return
			}
			open = open[:len(open)-1]
		}
	}
}
