package web

import (
	"context"
	"net/http"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// call is one request and its caller.
type call struct {
	*Handler
	w      http.ResponseWriter
	r      *http.Request
	caller keep.Caller // anonymous if nobody is signed in
	key    string      // of the session, "" if nobody is signed in
	labels keep.Labels // names of the caller and of the organization
	org    keep.ID     // from the path, 0 if it has none
	form   form        // of a POST

	location string // where the call redirected to
}

func (h *Handler) newCall(w http.ResponseWriter, r *http.Request) *call {
	o := httpapi.OriginOf(r.Context())
	return &call{Handler: h, w: w, r: r, caller: keep.Anonymous(keep.Origin{
		Protocol: keep.Web, Remote: o.Remote, Network: o.Network, Request: o.Request, Trace: o.Trace,
	})}
}

func (c *call) ctx() context.Context { return c.r.Context() }

func (c *call) signedIn() bool { return c.key != "" }

// may reports whether the caller's permissions allow an action.
func (c *call) may(a acl.Action, r acl.Resource) bool {
	return c.caller.Permissions().Allows(acl.Permission{Action: a, Resource: r})
}

// refuse refuses an action that the caller's permissions don't allow.
func (c *call) refuse(action string) error { return c.keep.Refuse(c.ctx(), c.caller, action, c.org) }

// viewSecrets calls fn with the organization's secrets. All that a page shows of them is
// read there, so that it is consistent and has one audit record.
func (c *call) viewSecrets(action string, fn func(*keep.SecretsView) error) error {
	return c.keep.ViewSecrets(c.ctx(), c.caller, action, c.org, nil, fn)
}

// handler returns an http.HandlerFunc for a route.
func (h *Handler) handler(r route) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		c := h.newCall(w, req)
		if err := c.run(r); err != nil {
			c.fail(err)
		}
	}
}

// run finds the caller, then checks access to the organization, then reads the form,
// and serves the route.
func (c *call) run(r route) error {
	if c.withoutCookie() {
		return c.show(http.StatusOK, &reloadView{})
	}
	if err := c.findCaller(r); err != nil {
		return err
	}
	if !r.open && !c.signedIn() {
		return c.askToSignIn(r)
	}
	if err := c.findOrganization(); err != nil {
		return err
	}
	if r.method != http.MethodPost {
		return r.serve(c)
	}
	if err := c.readForm(r); err != nil {
		return err
	}
	if owner := c.form.get("user"); owner != "" && owner != c.identity() && !r.open {
		return errOtherUser
	}
	return c.serveOnce(r)
}

// findOrganization checks access to the organization in the path, and finds the
// names that every page shows.
func (c *call) findOrganization() error {
	if !c.signedIn() {
		return nil
	}
	if text := c.r.PathValue("org"); text != "" {
		id, err := acl.ParseID(text)
		if err != nil {
			return c.keepLabels(errMissing)
		}
		c.org = id
	}
	var err error
	if c.labels, err = c.keep.Labels(c.ctx(), c.caller, c.org); err == nil || c.org == 0 {
		return err
	}
	return c.keepLabels(err)
}

// keepLabels finds the names for an error page, which is the same as outside an
// organization, and returns the error.
func (c *call) keepLabels(err error) error {
	c.org = 0
	labels, lerr := c.keep.Labels(c.ctx(), c.caller, 0)
	if lerr != nil {
		return lerr
	}
	c.labels = labels
	return err
}

// identity identifies who is signed in, so that a form is sent only by the user
// whom it was made for.
func (c *call) identity() string {
	if !c.signedIn() {
		return ""
	}
	id := c.caller.User.String()
	if c.caller.Token != 0 {
		id += "-" + c.caller.Token.String()
	}
	return id
}

// redirect answers a POST that succeeded. path begins with /ui. The page's script opens
// the path itself, because a request by script can't see where it is redirected to.
func (c *call) redirect(path string) error {
	c.location = path
	if c.r.Header.Get("X-Requested-With") != "" {
		c.w.Header().Set("Location", c.config.Base+path)
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	http.Redirect(c.w, c.r, c.config.Base+path, http.StatusSeeOther)
	return nil
}

// orgPath returns the path of a page of the organization.
func (c *call) orgPath(rest string) string { return "/ui/orgs/" + c.org.String() + rest }

// done returns the sentence for the word in ?done=, "" for an unknown one.
func (c *call) done(sentences map[string]string) string {
	return sentences[c.r.URL.Query().Get("done")]
}
