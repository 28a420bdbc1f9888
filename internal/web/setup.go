package web

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type setupView struct {
	frame
	Username, Organization string
	Exposed                bool // what is typed crosses a network in clear
}

func (*setupView) page() string { return "setup" }

type setupDoneView struct {
	frame
	Token   string
	Command string // which asks for the token
}

func (*setupDoneView) page() string { return "setup-done" }

// exposed reports whether the browser is on another machine and its connection isn't
// encrypted.
func (c *call) exposed() bool {
	if c.config.Secure(c.r) {
		return false
	}
	addr, err := netip.ParseAddr(c.caller.Origin.Remote)
	return err != nil || !addr.Unmap().IsLoopback()
}

// address is where the browser found the server.
func (c *call) address() string {
	if c.config.Origin != "" {
		return c.config.Origin + c.config.Base
	}
	scheme := "http://"
	if c.config.Secure(c.r) {
		scheme = "https://"
	}
	return scheme + c.r.Host + c.config.Base
}

func (c *call) setupPage() error {
	allowed, err := c.keep.SetupAllowed(c.ctx())
	if err != nil {
		return err
	}
	if !allowed {
		return c.redirect("/ui/")
	}
	return c.show(http.StatusOK, &setupView{Exposed: c.exposed()})
}

// setup sets the server up, signs the first user in, and shows the operator token.
func (c *call) setup() error {
	v := &setupView{Username: c.form.get("username"), Organization: c.form.get("org"), Exposed: c.exposed()}
	password := c.form.get("password")
	var form onceKey
	if c.form.get("once") != "" {
		form = c.form.key("", c.r.URL.Path)
	}
	allowed, err := c.keep.SetupAllowed(c.ctx())
	switch {
	case err != nil:
		return err
	case allowed:
		v.check(password, c.form.get("again"))
	case !c.setupOnce.did(form):
		return c.redirect("/ui/")
	}
	if len(v.Errors) > 0 {
		return c.show(http.StatusUnprocessableEntity, v)
	}
	token, org, err := c.setupOnce.do(form, func() (keep.SetupResult, error) {
		// A browser cancels a form's request when the form is sent again. Setup wants a
		// bucket, as InfluxDB's does, and doesn't store it.
		return c.keep.Setup(context.WithoutCancel(c.ctx()), c.caller, keep.SetupRequest{User: v.Username, Password: password, Org: v.Organization, Bucket: "none"})
	})
	if err != nil {
		return c.showError(v, "", "", err)
	}
	session, err := c.keep.SignIn(c.ctx(), c.caller, v.Username, password)
	switch {
	case err == nil:
		c.setCookie(c.cookieName(), session.Key)
	case !allowed: // the password has changed since, or the user may not sign in
		return c.redirect("/ui/")
	}
	out := &setupDoneView{Token: token}
	out.Command = "fluxkeep config create --config-name fluxkeep --host-url " + shell(c.address()) + " --org " + shell(org)
	return c.show(http.StatusOK, out)
}

// check finds what is missing in the form, or wrong.
func (v *setupView) check(password, again string) {
	for _, f := range []struct{ field, value, message string }{
		{"username", v.Username, "Choose a name for the first user."},
		{"password", password, "Choose a password."},
		{"org", v.Organization, "Choose a name for the first organization."},
	} {
		if f.value == "" {
			v.Errors = append(v.Errors, fieldError{f.field, f.message})
		}
	}
	if password != again && password != "" {
		v.Errors = append(v.Errors, fieldError{"again", "The two passwords differ."})
	}
}

// setupOnce returns the same result for a form that is sent twice. After a double click,
// the browser shows only the second answer, which must have the operator token as well.
type setupOnce struct {
	mu         sync.Mutex
	form       onceKey // that set the server up
	token, org string  // "" after onceTime, or once anybody signs out
}

// did reports whether the form set the server up a short time ago.
func (s *setupOnce) did(form onceKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token != "" && s.form == form
}

// do returns the operator token and the organization's name. The zero form isn't
// remembered.
func (s *setupOnce) do(form onceKey, setup func() (keep.SetupResult, error)) (token, org string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != "" && s.form == form {
		return s.token, s.org, nil
	}
	done, err := setup()
	if err == nil && form != (onceKey{}) {
		s.form, s.token, s.org = form, done.Token.Value, done.Org.Name
		time.AfterFunc(onceTime, s.forget)
	}
	return done.Token.Value, done.Org.Name, err
}

func (s *setupOnce) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = ""
}
