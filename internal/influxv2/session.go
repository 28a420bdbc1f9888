package influxv2

import "net/http"

// signIn makes a session and puts its key into a cookie.
func (c *call) signIn() error {
	user, password, ok := c.r.BasicAuth()
	if !ok {
		// To ask all the same puts the refusal into the audit log.
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

// signOut needs no caller but the session itself, which it ends.
func (c *call) signOut() error {
	key, _ := c.session(c.r) // "" is of no session
	if err := c.keep.SignOut(c.ctx(), c.caller, key); err != nil {
		return err
	}
	return c.noContent()
}
