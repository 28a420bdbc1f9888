package client

import (
	"context"
	"errors"
	"net/http"
)

// SignIn creates a session and uses it instead of the token from then on.
func (c *Client) SignIn(ctx context.Context, user, password string) error {
	p, err := path("signin")
	if err != nil {
		return err
	}
	a, err := c.do(ctx, call{method: http.MethodPost, path: p, once: true, basic: &basicAuth{user, password}})
	if err != nil {
		return err
	}
	for _, cookie := range a.cookies {
		if cookie.Value != "" {
			c.setSession(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
			return nil
		}
	}
	return errors.New("the server accepted the sign-in but sent no session")
}

// SignOut ends the session that SignIn created. Requests then use the token
// again, if there is one.
func (c *Client) SignOut(ctx context.Context) error {
	err := c.send(ctx, call{method: http.MethodPost, once: true}, "signout")
	c.setSession(nil)
	return err
}

// ChangePassword changes the password of the signed-in user and ends the
// session.
func (c *Client) ChangePassword(ctx context.Context, user, old, password string) error {
	err := c.send(ctx, call{
		method: http.MethodPut, in: passwordBody{password}, once: true, basic: &basicAuth{user, old},
	}, "me", "password")
	if err == nil {
		c.setSession(nil)
	}
	return err
}

func (c *Client) setSession(cookie *http.Cookie) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = cookie
}

func (c *Client) signedIn() *http.Cookie {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}
