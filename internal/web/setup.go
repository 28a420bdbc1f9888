package web

import (
	"net/http"
	"net/netip"

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

// setup sets the server up, signs the first user in, and shows the operator token,
// which isn't shown again.
func (c *call) setup() error {
	v := &setupView{Username: c.form.get("username"), Organization: c.form.get("org"), Exposed: c.exposed()}
	password := c.form.get("password")
	if allowed, err := c.keep.SetupAllowed(c.ctx()); err != nil || !allowed {
		if err == nil {
			return c.redirect("/ui/")
		}
		return err
	}
	for _, f := range []struct{ field, value, message string }{
		{"username", v.Username, "Choose a name for the first user."},
		{"password", password, "Choose a password."},
		{"org", v.Organization, "Choose a name for the first organization."},
	} {
		if f.value == "" {
			v.Errors = append(v.Errors, fieldError{f.field, f.message})
		}
	}
	if password != c.form.get("again") && password != "" {
		v.Errors = append(v.Errors, fieldError{"again", "The two passwords differ."})
	}
	if len(v.Errors) > 0 {
		return c.show(http.StatusUnprocessableEntity, v)
	}
	// Setup wants a bucket, as InfluxDB's does, and doesn't store it.
	done, err := c.keep.Setup(c.ctx(), c.caller, keep.SetupRequest{User: v.Username, Password: password, Org: v.Organization, Bucket: "none"})
	if err != nil {
		return c.showError(v, "", "", err)
	}
	session, err := c.keep.SignIn(c.ctx(), c.caller, v.Username, password)
	if err == nil {
		c.setCookie(c.cookieName(), session.Key)
	}
	out := &setupDoneView{Token: done.Token.Value}
	out.Command = "fluxkeep config create --config-name fluxkeep --host-url " + shell(c.address()) + " --org " + shell(done.Org.Name)
	return c.show(http.StatusOK, out)
}
