package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

//go:embed templates
var templateFiles embed.FS

// view is the content of a page. Every page has a struct that implements it and
// embeds a frame, and a template of the same name in templates/pages.
type view interface {
	page() string // the name of the page's template
	top() *frame
}

// views has one of each page's.
func views() []view {
	return []view{
		&problemView{}, &reloadView{}, &signInView{}, &continueView{},
		&setupView{}, &setupDoneView{}, &organizationsView{},
		&secretsView{}, &secretView{}, &editView{}, &deleteView{}, &snippetsView{}, &importView{},
		&historyView{}, &versionView{}, &compareView{}, &restoreView{}, &helpView{},
		&accessView{}, &tokenView{}, &newTokenView{}, &newTokenDoneView{}, &membersView{},
		&auditView{}, &usersView{}, &userView{}, &serverView{}, &keysView{}, &backupView{}, &meView{},
	}
}

// frame is what every page has. call.show fills it in.
type frame struct {
	SignedIn   bool
	Identity   string // call.identity
	ByToken    bool
	Labels     keep.Labels
	Org        keep.ID // 0 outside an organization
	Navigation []navItem
	Look       string       // "light" or "dark", "" for the system's
	NoKeys     bool         // shortcuts are turned off
	Release    string       // of the program
	Done       string       // a sentence about what the last form did
	Errors     []fieldError // of the page's form
}

func (f *frame) top() *frame { return f }

// Error returns what is wrong with a field, "" if nothing is.
func (f *frame) Error(field string) string {
	for _, e := range f.Errors {
		if e.Field == field {
			return e.Message
		}
	}
	return ""
}

// navItem is an entry of the navigation.
type navItem struct {
	Label, Path, Key string
	Current          bool
}

// navigation lists what the caller may open.
func (c *call) navigation() []navItem {
	var items []navItem
	add := func(allowed bool, label, path, key string) {
		if allowed {
			current := c.r.URL.Path == path || strings.HasPrefix(c.r.URL.Path, path+"/")
			items = append(items, navItem{label, c.config.Base + path, key, current})
		}
	}
	if c.org != 0 {
		base := "/ui/orgs/" + c.org.String()
		add(c.caller.ReadsSecrets(c.org) || c.caller.WritesSecrets(c.org), "Secrets", base+"/secrets", "s")
		add(c.caller.ReadsSecrets(c.org), "History", base+"/history", "h")
		add(c.mayTokens(acl.Read), "Access", base+"/access", "a")
		add(c.mayOrganization(acl.Read), "Members", base+"/members", "m")
		add(c.caller.ReadsAudit(c.org), "Audit", base+"/audit", "u")
	}
	if c.org == 0 {
		add(true, "Secrets", "/ui/", "s") // of the only organization, or of one to choose
	}
	if c.caller.Operator() {
		add(true, "Users", "/ui/users", "")
		add(c.org == 0, "Audit", "/ui/audit", "u")
		add(true, "Server", "/ui/server", "v")
	}
	return items
}

// parsePages parses the templates. Each page gets a set of its own: the layout, the
// parts and the page's file.
func (h *Handler) parsePages() (map[string]*template.Template, error) {
	shared, err := template.New("").Funcs(h.functions()).ParseFS(templateFiles, "templates/layout.html", "templates/parts/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse the web page's templates: %w", err)
	}
	files, err := fs.Glob(templateFiles, "templates/pages/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, v := range views() {
		file := "templates/pages/" + v.page() + ".html"
		set, err := shared.Clone()
		if err == nil {
			_, err = set.ParseFS(templateFiles, file)
		}
		if err != nil {
			return nil, fmt.Errorf("parse the template of page %s: %w", v.page(), err)
		}
		pages[v.page()] = set
		files = slices.DeleteFunc(files, func(f string) bool { return f == file })
	}
	if len(files) > 0 {
		return nil, fmt.Errorf("%s is the template of no page", path.Base(files[0]))
	}
	return pages, nil
}

// functions are the templates' functions. None returns HTML.
func (h *Handler) functions() template.FuncMap {
	return template.FuncMap{
		// url returns a path under /ui/: {{url "orgs" .Org "secrets"}}.
		"url": func(segments ...any) string {
			p := h.config.Base + "/ui"
			for _, s := range segments {
				p += "/" + url.PathEscape(fmt.Sprint(s))
			}
			return p
		},
		// here adds the base to a path of the page.
		"here":    func(path string) string { return h.config.Base + path },
		"asset":   h.assets.path(h.config.Base),
		"once":    newOnceID,
		"when":    func(t time.Time) moment { return momentOf(t, h.config.Now()) },
		"visible": visible,
		"plain":   plain,
		"count":   func(n any) string { return digits(fmt.Sprint(n)) },
		"plural":  plural,
		"size":    formatSize,
		"options": options,
		"list":    func(items ...any) []any { return items },
		"inc":     func(n int) int { return n + 1 },
		"dec":     func(n int) int { return n - 1 },
	}
}

// show renders a page. Only what gets to the end is sent.
func (c *call) show(status int, v view) error {
	f := v.top()
	f.SignedIn, f.Identity, f.ByToken = c.signedIn(), c.identity(), c.caller.Token != 0
	f.Labels, f.Org, f.Release = c.labels, c.org, c.config.Version
	f.Look, f.NoKeys = c.preference("look"), c.preference("keys") == "off"
	if f.SignedIn {
		f.Navigation = c.navigation()
	}
	b := pageBuffer{exchange: httpapi.ExchangeOf(c.ctx())}
	if err := c.pages[v.page()].ExecuteTemplate(&b, "layout", v); err != nil {
		return fmt.Errorf("render page %s: %w", v.page(), err)
	}
	header := c.w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	body := b.Bytes()
	if c.r.Method == http.MethodGet { // only answers to forms contain input or a token
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(c.r) {
			header.Set("Content-Encoding", "gzip")
			body = compress(body)
		}
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	c.w.Write(body) // fails if the connection is broken, so there is nobody to tell
	clear(b.Bytes())
	return nil
}

// pageBuffer is a page that is put together. The memory of a large one is part of the
// sender's share, so that a few of them can't take what all requests need.
type pageBuffer struct {
	bytes.Buffer
	exchange *httpapi.Exchange
}

// freePage is the size of a page that takes nothing of the share: an error can always
// be shown, and the result of a change.
const freePage = 64 << 10

func (b *pageBuffer) Write(p []byte) (int, error) {
	if size := b.Len() + len(p); size > freePage && size > b.Cap() { // it grows to twice its size
		if err := b.exchange.Reserve(int64(2*b.Cap() + len(p))); err != nil {
			return 0, err
		}
	}
	return b.Buffer.Write(p)
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, parameters, _ := strings.Cut(part, ";")
		if strings.TrimSpace(coding) == "gzip" {
			return !strings.HasPrefix(strings.TrimSpace(parameters), "q=0") || strings.ContainsAny(parameters, "123456789")
		}
	}
	return false
}

func compress(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b) // a bytes.Buffer never fails
	z.Close()
	return out.Bytes()
}

// preference returns the browser's choice for a setting, "" for the default.
func (c *call) preference(name string) string {
	for _, k := range c.r.CookiesNamed(c.cookie + "-" + name) {
		switch k.Value {
		case "light", "dark", "off":
			return k.Value
		}
	}
	return ""
}
