package influxv2

import "net/http"

// signIn creates a session and sets its key as a cookie.
func (c *call) signIn() error {
	user, password, ok := c.r.BasicAuth()
	if !ok {
		// Authenticating nothing records the refusal in the audit log.
		_, err := c.keep.Authenticate(c.ctx(), c.caller.Origin, "")
		return err
	}
	s, err := c.keep.SignIn(c.ctx(), c.caller, user, password)
	if err != nil {
		return err
	}
	http.SetCookie(c.w, &http.Cookie{
		Name: sessionCookie, Value: s.Key, Path: "/api/", Expires: s.Expires,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: c.config.Secure(c.r),
	})
	return c.noContent()
}

// signOut ends a session. Its key is all the authentication needed.
func (c *call) signOut() error {
	if err := c.keep.SignOut(c.ctx(), c.caller, c.sessions(c.r)...); err != nil {
		return err
	}
	return c.noContent()
}
