package influxv2

import (
	"errors"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type passwordBody struct {
	Password string `json:"password"`
}

// passwordResetBody is passwordBody under the name that InfluxDB's messages
// use where the old password is required.
type passwordResetBody struct {
	Password string `json:"password"`
}

// passwordUser reads the ID of the user whose password is to change. Only here
// does InfluxDB check the body first.
func (c *call) passwordUser() (keep.ID, error) {
	id, err := c.id("userID")
	if err != nil {
		err = invalid("invalid user ID provided in route")
	}
	return id, err
}

func (c *call) setPassword() error {
	var body passwordBody
	if err := c.decode(&body, badPlain); err != nil {
		return err
	}
	id, err := c.passwordUser()
	if err != nil {
		return err
	}
	if err := c.keep.SetPassword(c.ctx(), c.caller, id, body.Password); err != nil {
		return err
	}
	return c.noContent()
}

// oldAndNew reads the old password from the header and the new one from the
// body. The caller is known from a session: the header holds no token.
func (c *call) oldAndNew() (old, password string, err error) {
	_, old, ok := c.r.BasicAuth()
	if !ok {
		return "", "", invalid(badPasswordReset + "invalid basic auth")
	}
	var body passwordResetBody
	err = c.decode(&body, badPasswordReset)
	return old, body.Password, err
}

func (c *call) changeOwnPassword() error {
	old, password, err := c.oldAndNew()
	if c.caller.User == 0 { // see before
		return c.replaceOutdatedPassword(old, password, err)
	}
	if err != nil {
		return err
	}
	return c.replacePassword(c.caller.User, old, password)
}

// replaceOutdatedPassword changes the password of a user who can't sign in with the
// old one. err is that of the body, which nobody learns.
func (c *call) replaceOutdatedPassword(old, password string, err error) error {
	name, _, _ := c.r.BasicAuth()
	if err != nil {
		// Authenticating nothing records the refusal in the audit log.
		_, err = c.keep.Authenticate(c.ctx(), c.caller.Origin, "")
	} else {
		err = c.keep.ReplaceOutdatedPassword(c.ctx(), c.caller, name, old, password)
	}
	switch {
	case errors.Is(err, keep.ErrUnauthenticated):
		c.refuse(c.w, c.r, err)
		return nil
	case err != nil:
		return err
	}
	return c.noContent()
}

func (c *call) changePassword() error {
	old, password, err := c.oldAndNew()
	if err != nil {
		return err
	}
	id, err := c.passwordUser()
	if err != nil {
		return err
	}
	return c.replacePassword(id, old, password)
}

func (c *call) replacePassword(id keep.ID, old, password string) error {
	if err := c.keep.ChangePassword(c.ctx(), c.caller, id, old, password); err != nil {
		return err
	}
	return c.noContent()
}
