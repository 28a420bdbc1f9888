package web

import (
	"net/http"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type membersView struct {
	frame
	Members []member
	Change  bool
	Name    string // of the user to add
	Owner   bool
}

func (*membersView) page() string { return "members" }

type member struct {
	keep.User
	Role keep.Role
}

// mayOrganization reports whether the caller may read or change the organization.
func (c *call) mayOrganization(a acl.Action) bool {
	return c.may(a, acl.Resource{Type: acl.Orgs, ID: c.org})
}

func (c *call) members() (*membersView, error) {
	v := &membersView{Change: c.mayOrganization(acl.Write) && !c.caller.Limited()}
	for _, role := range []keep.Role{keep.Owner, keep.Member} {
		users, err := c.keep.Members(c.ctx(), c.caller, c.org, role)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			v.Members = append(v.Members, member{u, role})
		}
	}
	return v, nil
}

func (c *call) membersPage() error {
	v, err := c.members()
	if err != nil {
		return err
	}
	v.Done = c.done(map[string]string{"added": "The user was added.", "removed": "The user was removed from the organization."})
	return c.show(http.StatusOK, v)
}

func (c *call) addMember() error {
	v, err := c.members()
	if err != nil {
		return err
	}
	role := keep.Member
	if v.Owner = c.form.get("role") == string(keep.Owner); v.Owner {
		role = keep.Owner
	}
	v.Name = c.form.get("name")
	const unknown = "There is no such user, or you don't have access to it."
	users, err := c.keep.Users(c.ctx(), c.caller, keep.UserFilter{Name: v.Name})
	if v.Name == "" || keep.CodeOf(err) == keep.CodeNotFound && err != nil || err == nil && len(users) == 0 {
		v.Errors = []fieldError{{"name", unknown}}
		return c.show(http.StatusUnprocessableEntity, v)
	}
	if err != nil {
		return err
	}
	if _, err := c.keep.AddMember(c.ctx(), c.caller, c.org, users[0].ID, role); err != nil {
		return c.showError(v, "name", "", err)
	}
	return c.redirect(c.orgPath("/members?done=added"))
}

func (c *call) removeMember() error {
	id, err := acl.ParseID(c.r.PathValue("user"))
	if err != nil {
		return errMissing
	}
	if err := c.keep.RemoveMember(c.ctx(), c.caller, c.org, id); err != nil {
		return err
	}
	return c.redirect(c.orgPath("/members?done=removed"))
}
