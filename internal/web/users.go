package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type usersView struct {
	frame
	Users []keep.User
	Name  string // of the user to add
}

func (*usersView) page() string { return "users" }

// writesUsers reports whether the caller may change all users.
func (c *call) writesUsers() bool { return c.may(acl.Write, acl.Resource{Type: acl.Users}) }

func (c *call) users() (*usersView, error) {
	if !c.writesUsers() {
		return nil, c.refuse("users.list")
	}
	list, err := c.keep.Users(c.ctx(), c.caller, keep.UserFilter{})
	slices.SortFunc(list, func(a, b keep.User) int { return strings.Compare(a.Name, b.Name) })
	return &usersView{Users: list}, err
}

func (c *call) usersPage() error {
	v, err := c.users()
	if err != nil {
		return err
	}
	v.Done = c.done(map[string]string{"deleted": "The user was deleted."})
	return c.show(http.StatusOK, v)
}

func (c *call) newUser() error {
	v, err := c.users()
	if err != nil {
		return err
	}
	v.Name = c.form.get("name")
	if v.Name == "" {
		v.Errors = []fieldError{{"name", "Enter a name."}}
		return c.show(http.StatusUnprocessableEntity, v)
	}
	u, err := c.keep.CreateUser(c.ctx(), c.caller, v.Name, true)
	if err != nil {
		return c.showError(v, "name", "", err)
	}
	return c.redirect("/ui/users/" + u.ID.String() + "?done=created")
}

type userView struct {
	frame
	User   keep.User
	Self   bool // it is the caller's user
	Delete bool // the page asks whether to delete the user
	Orgs   []keep.Organization
}

func (*userView) page() string { return "user" }

// user returns the view of the user in the path.
func (c *call) user() (*userView, error) {
	if !c.writesUsers() {
		return nil, c.refuse("users.read")
	}
	id, err := acl.ParseID(c.r.PathValue("user"))
	if err != nil {
		return nil, errMissing
	}
	u, orgs, err := c.keep.UserIn(c.ctx(), c.caller, id)
	return &userView{User: u, Self: id == c.caller.User, Orgs: orgs}, err
}

func (c *call) userPage() error {
	v, err := c.user()
	if err != nil {
		return err
	}
	v.Done = c.done(map[string]string{
		"created":  "The user was created. Set a password, so that the user can sign in.",
		"password": "The password was set. The user's sessions have ended.",
		"inactive": "The user is inactive: its tokens and sessions are refused.",
		"active":   "The user is active.",
	})
	return c.show(http.StatusOK, v)
}

func (c *call) userDone(v *userView, done string) error {
	return c.redirect("/ui/users/" + v.User.ID.String() + "?done=" + done)
}

func (c *call) setUserStatus() error {
	v, err := c.user()
	if err != nil {
		return err
	}
	active, err := c.form.active()
	if err != nil {
		return err
	}
	if _, err := c.keep.UpdateUser(c.ctx(), c.caller, v.User.ID, keep.UserUpdate{Active: &active}); err != nil {
		return c.showError(v, "", "", err)
	}
	return c.userDone(v, c.form.get("status"))
}

func (c *call) setUserPassword() error {
	v, err := c.user()
	if err != nil {
		return err
	}
	password := c.form.get("password")
	if password != c.form.get("repeat") {
		v.Errors = []fieldError{{"repeat", "The two passwords differ."}}
		return c.show(http.StatusUnprocessableEntity, v)
	}
	if err := c.keep.SetPassword(c.ctx(), c.caller, v.User.ID, password); err != nil {
		return c.showError(v, "password", "", err)
	}
	return c.userDone(v, "password")
}

func (c *call) deleteUserPage() error {
	v, err := c.user()
	if err != nil {
		return err
	}
	v.Delete = true
	return c.show(http.StatusOK, v)
}

func (c *call) deleteUser() error {
	v, err := c.user()
	if err != nil {
		return err
	}
	if err := c.keep.DeleteUser(c.ctx(), c.caller, v.User.ID); err != nil {
		return c.showError(v, "", "", err)
	}
	return c.redirect("/ui/users?done=deleted")
}
