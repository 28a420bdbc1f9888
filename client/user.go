package client

import (
	"context"
	"net/http"
	"net/url"
)

// Status says whether a user or a token is active.
type Status string

// The statuses.
const (
	Active   Status = "active"
	Inactive Status = "inactive"
)

// User can sign in and own tokens.
type User struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status Status `json:"status"`
}

// Me returns the user that the token or the session belongs to.
func (c *Client) Me(ctx context.Context) (User, error) {
	return get[User](ctx, c, nil, "me")
}

// Users returns all users that the caller may read.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	var all []User
	err := pages(nil, func(q url.Values) (int, error) {
		list, err := c.users(ctx, q)
		all = append(all, list...)
		return len(list), err
	})
	return all, err
}

func (c *Client) users(ctx context.Context, q url.Values) ([]User, error) {
	var out struct {
		Users []User `json:"users"`
	}
	err := c.get(ctx, &out, q, "users")
	return out.Users, err
}

// User returns one user by its ID.
func (c *Client) User(ctx context.Context, id string) (User, error) {
	return get[User](ctx, c, nil, "users", id)
}

// UserByName returns one user by its name, or ErrNotFound.
func (c *Client) UserByName(ctx context.Context, name string) (User, error) {
	list, err := c.users(ctx, values("name", name))
	if err != nil {
		return User{}, err
	}
	for _, u := range list {
		if u.Name == name {
			return u, nil
		}
	}
	return User{}, notFound("user", name)
}

// CreateUser creates a user without a password.
func (c *Client) CreateUser(ctx context.Context, name string) (User, error) {
	in := struct {
		Name string `json:"name"`
	}{name}
	return send[User](ctx, c, call{method: http.MethodPost, in: in, once: true}, "users")
}

// UserUpdate changes the fields that are not nil.
type UserUpdate struct {
	Name   *string `json:"name,omitempty"`
	Status *Status `json:"status,omitempty"`
}

// UpdateUser renames, activates or deactivates a user.
func (c *Client) UpdateUser(ctx context.Context, id string, u UserUpdate) (User, error) {
	return send[User](ctx, c, call{method: http.MethodPatch, in: u}, "users", id)
}

// DeleteUser deletes a user. The user's tokens stop working.
func (c *Client) DeleteUser(ctx context.Context, id string) error {
	return c.send(ctx, call{method: http.MethodDelete, once: true}, "users", id)
}

type passwordBody struct {
	Password string `json:"password"`
}

// SetPassword sets a user's password and ends the user's sessions.
func (c *Client) SetPassword(ctx context.Context, userID, password string) error {
	return c.send(ctx, call{method: http.MethodPost, in: passwordBody{password}}, "users", userID, "password")
}
