package web

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// All ports of a host share their cookies, so the names contain the server's ID:
// neither an InfluxDB nor a second Fluxkeep on the host uses them.

// cookieName is the name of the session's cookie. The API never accepts it.
func (c *call) cookieName() string {
	if c.config.Secure(c.r) {
		return "__Host-" + c.cookie
	}
	return c.cookie
}

// setCookie sets a cookie that ends with the browser's session.
func (c *call) setCookie(name, value string) {
	k := http.Cookie{Name: name, Value: value, Path: c.config.Base + "/ui/", HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if c.config.Secure(c.r) {
		k.Secure, k.Path = true, "/" // as __Host- requires
	}
	if value == "" {
		k.MaxAge = -1
	}
	http.SetCookie(c.w, &k)
}

// findCaller finds who is signed in. All cookies with the right name are tried: one
// for another path may come first.
func (c *call) findCaller(r route) error {
	authenticate := func(key string) (keep.Caller, error) {
		if r.peeks {
			return c.keep.PeekSession(c.ctx(), c.caller.Origin, key)
		}
		return c.keep.AuthenticateSession(c.ctx(), c.caller.Origin, key)
	}
	cookies := c.r.CookiesNamed(c.cookieName())
	if len(cookies) == 0 && !r.open {
		cookies = []*http.Cookie{{}} // no session's, so that the refusal is audited
	}
	for _, cookie := range cookies[:min(len(cookies), 4)] {
		caller, err := authenticate(cookie.Value)
		switch {
		case errors.Is(err, keep.ErrUnauthenticated), errors.Is(err, keep.ErrUserInactive):
			continue
		case err != nil:
			return err
		}
		if err := c.keep.CheckActive(caller); err != nil {
			continue
		}
		c.caller, c.key = caller, cookie.Value
		user, token := caller.Account()
		httpapi.ExchangeOf(c.ctx()).Identify(uint64(user), uint64(token))
		return nil
	}
	return nil
}

// withoutCookie reports whether a browser followed a link from another site, and so
// didn't send the cookie that it may have.
func (c *call) withoutCookie() bool {
	return c.r.Method == http.MethodGet && c.r.Header.Get("Sec-Fetch-Site") == "cross-site" && len(c.r.CookiesNamed(c.cookieName())) == 0
}

// askToSignIn answers a request without a session. What a form contains is carried
// over the sign-in.
func (c *call) askToSignIn(r route) error {
	if fromScript(c.r) {
		return c.respond(http.StatusUnauthorized, map[string]string{"error": "Your session has ended. Sign in again."})
	}
	v := &signInView{To: c.r.URL.RequestURI(), Exposed: c.exposed()}
	if r.method != http.MethodPost {
		return c.show(http.StatusUnauthorized, v)
	}
	r.limit = largeForm
	if err := c.readForm(r); err != nil {
		return err
	}
	v.To, v.Ended = c.r.URL.Path, true
	v.Carried = carry(c.form, func(name string) string { return carried + name })
	return c.show(http.StatusUnauthorized, v)
}

// reloadView is a page that opens itself again, this time from the page's own site.
type reloadView struct{ frame }

func (*reloadView) page() string { return "reload" }

type signInView struct {
	frame
	To       string // the path to open then
	Username string
	UseToken bool
	Exposed  bool           // what is typed crosses a network in clear
	Ended    bool           // a form was sent without a session
	Carried  []carriedField // of that form
}

func (*signInView) page() string { return "sign-in" }

// carriedField is a field of a form that was sent without a session.
type carriedField struct{ Name, Value string }

// Label names the field for a reader.
func (f carriedField) Label() string {
	return "What you typed: " + strings.ReplaceAll(strings.TrimPrefix(f.Name, carried), "-", " ")
}

// Hidden reports whether the field is one of every form's.
func (f carriedField) Hidden() bool {
	return f.Name == carried+"once" || f.Name == carried+"user" || f.Value == ""
}

// carry returns the fields of a form that a sign-in carries. rename returns a field's
// name there, "" for none.
func carry(f form, rename func(string) string) (fields []carriedField) {
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		if to := rename(name); to != "" {
			for _, value := range f.values[name] {
				fields = append(fields, carriedField{to, value})
			}
		}
	}
	return fields
}

// carriedAgain is a name for carry when a sign-in failed.
func carriedAgain(name string) string {
	if strings.HasPrefix(name, carried) {
		return name
	}
	return ""
}

// home opens the page that somebody needs first.
func (c *call) home() error {
	if c.signedIn() {
		return c.redirect("/ui/orgs")
	}
	allowed, err := c.keep.SetupAllowed(c.ctx())
	if err != nil {
		return err
	}
	if allowed {
		return c.redirect("/ui/setup")
	}
	return c.redirect("/ui/sign-in")
}

// checkSession tells the script that the session hasn't ended.
func (c *call) checkSession() error {
	return c.respond(http.StatusOK, map[string]string{"user": c.identity()})
}

func (c *call) signInPage() error {
	if c.signedIn() {
		return c.redirect("/ui/")
	}
	v := &signInView{Exposed: c.exposed()}
	v.Done = c.done(map[string]string{"signed-out": "You are signed out."})
	return c.show(http.StatusOK, v)
}

// signIn makes a new session. It never continues the one that the request has.
func (c *call) signIn() error {
	v := &signInView{To: c.form.get("to"), Username: c.form.get("username"), Carried: carry(c.form, carriedAgain)}
	v.Ended = len(v.Carried) > 0
	v.UseToken = c.form.get("token") != "" && c.form.get("password") == ""
	stranger := keep.Anonymous(c.caller.Origin)
	var session keep.Session
	var err error
	if v.UseToken {
		session, err = c.keep.SignInToken(c.ctx(), stranger, strings.TrimSpace(c.form.get("token")))
	} else {
		session, err = c.keep.SignIn(c.ctx(), stranger, v.Username, c.form.get("password"))
	}
	if err != nil {
		return c.refuseSignIn(v, err)
	}
	caller, err := c.keep.AuthenticateSession(c.ctx(), stranger.Origin, session.Key)
	if errors.Is(err, keep.ErrUserInactive) {
		return c.refuseSignIn(v, err)
	}
	if err != nil {
		return err
	}
	if c.signedIn() { // leave no session behind
		if err := c.keep.ReplaceSession(c.ctx(), c.caller, c.key, caller); err != nil && !errors.Is(err, keep.ErrUnauthenticated) {
			return err
		}
	}
	c.setCookie(c.cookieName(), session.Key)
	c.caller, c.key = caller, session.Key
	return c.continueAt(v)
}

func (c *call) refuseSignIn(v *signInView, err error) error {
	p, retry := explain(err)
	httpapi.SetRetryAfter(c.w.Header(), retry)
	switch {
	case errors.Is(err, keep.ErrUnauthenticated) && v.UseToken:
		p = problem{status: http.StatusUnauthorized, message: "This token doesn't exist, has expired, or is inactive."}
	case errors.Is(err, keep.ErrUnauthenticated):
		p = problem{status: http.StatusUnauthorized, message: "The username or the password is wrong."}
	case errors.Is(err, keep.ErrUserInactive), keep.CodeOf(err) == keep.CodeForbidden:
		p = problem{status: http.StatusForbidden, message: sentence(err.Error())}
	}
	if fromScript(c.r) {
		return c.respond(p.status, map[string]string{"error": p.message})
	}
	v.Errors = []fieldError{{"", p.message}}
	return c.show(p.status, v)
}

type continueView struct {
	frame
	To      string
	Carried []carriedField
}

func (*continueView) page() string { return "continue" }

// continueAt opens what was asked for before the sign-in. A form that was sent
// without a session can be sent again, but only by the user who had filled it in.
func (c *call) continueAt(v *signInView) error {
	to, known := c.target(v.To)
	if fromScript(c.r) {
		return c.respond(http.StatusOK, map[string]string{"user": c.identity()})
	}
	mine := false
	for _, f := range v.Carried {
		mine = mine || f.Name == carried+"user" && f.Value == c.identity()
	}
	if mine && known {
		if err := c.findOrganization(); err != nil {
			return err
		}
		out := &continueView{To: to}
		for _, f := range v.Carried {
			out.Carried = append(out.Carried, carriedField{strings.TrimPrefix(f.Name, carried), f.Value})
		}
		return c.show(http.StatusOK, out)
	}
	return c.redirect(to)
}

// maxTarget is the longest path to open after a sign-in, which is sent in a header.
const maxTarget = 2048

// target returns the path to open after a sign-in: one of the page's own, else the
// page's first.
func (c *call) target(to string) (path string, known bool) {
	u, err := url.Parse(to)
	if err != nil || len(to) > maxTarget || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(to, "/ui/") {
		return "/ui/", false
	}
	if c.Pattern(&http.Request{Method: http.MethodGet, URL: u}) == "" {
		return "/ui/", false
	}
	return u.RequestURI(), true
}

// signOut ends the session. Clear-Site-Data clears no cookies, because that would
// sign the user out of an InfluxDB on the same host.
func (c *call) signOut() error {
	if c.signedIn() {
		c.setupOnce.forget() // the browser may still have the form
		if err := c.keep.SignOut(c.ctx(), c.caller, c.key); err != nil && !errors.Is(err, keep.ErrUnauthenticated) {
			return err
		}
	}
	c.setCookie(c.cookieName(), "")
	c.w.Header().Set("Clear-Site-Data", `"cache"`)
	return c.redirect("/ui/sign-in?done=signed-out")
}
