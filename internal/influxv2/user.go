package influxv2

import (
	"net/http"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type userAnswer struct {
	Links  map[string]string `json:"links"`
	ID     keep.ID           `json:"id"`
	Name   string            `json:"name"`
	Status status            `json:"status"`
}

func userAnswerOf(u keep.User) userAnswer {
	return userAnswer{map[string]string{"self": "/api/v2/users/" + u.ID.String()}, u.ID, u.Name, statusWord(u.Active)}
}

type usersAnswer struct {
	Links map[string]string `json:"links"`
	Users []userAnswer      `json:"users"`
}

func (c *call) me() error {
	u, err := c.keep.Me(c.ctx(), c.caller)
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, userAnswerOf(u))
}

func (c *call) listUsers() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	var f keep.UserFilter
	if f.Page, err = page(q); err != nil {
		return err
	}
	if f.ID, err = optionalID(q, "id", ""); err != nil {
		return err
	}
	f.Name = q.Get("name")
	users, err := c.keep.Users(c.ctx(), c.caller, f)
	if err != nil {
		return err
	}
	out := usersAnswer{map[string]string{"self": "/api/v2/users"}, make([]userAnswer, len(users))}
	for i, u := range users {
		out.Users[i] = userAnswerOf(u)
	}
	return c.respondList(out)
}

func (c *call) getUser() error {
	id, err := c.id("userID")
	if err != nil {
		return err
	}
	u, err := c.keep.User(c.ctx(), c.caller, id)
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, userAnswerOf(u))
}

// userBody creates or identifies a user.
type userBody struct {
	ID     keep.ID `json:"id"`
	Name   string  `json:"name"`
	Status status  `json:"status"`
}

func (c *call) createUser() error {
	var body userBody
	if err := c.decode(&body, badPlain); err != nil {
		return err
	}
	if body.Status == "" {
		body.Status = active
	}
	if err := body.Status.check(); err != nil && body.Name != "" && c.mayCreateUsers() {
		return err // all other errors take precedence
	}
	u, err := c.keep.CreateUser(c.ctx(), c.caller, body.Name, body.Status == active)
	if err != nil {
		return err
	}
	return c.respond(http.StatusCreated, userAnswerOf(u))
}

func (c *call) mayCreateUsers() bool {
	return c.caller.Permissions().Allows(acl.Permission{Action: acl.Write, Resource: acl.Resource{Type: acl.Users}})
}

type userUpdateBody struct {
	Name   *string `json:"name"`
	Status *status `json:"status"`
}

func (c *call) updateUser() error {
	id, err := c.id("userID")
	if err != nil {
		return err
	}
	var body userUpdateBody
	if err := c.decode(&body, badPlain); err != nil {
		return err
	}
	if body.Status != nil {
		if err := body.Status.check(); err != nil {
			return err
		}
	}
	u, err := c.keep.UpdateUser(c.ctx(), c.caller, id, keep.UserUpdate{Name: body.Name, Active: body.Status.isActive()})
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, userAnswerOf(u))
}

func (c *call) deleteUser() error {
	id, err := c.id("userID")
	if err != nil {
		return err
	}
	if err := c.keep.DeleteUser(c.ctx(), c.caller, id); err != nil {
		return err
	}
	return c.noContent()
}
