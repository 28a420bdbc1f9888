package web

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type membersView struct {
	frame
	Members []keep.Membership
	Change  bool
	Name    string // of the user to add
	Owner   bool
}

func (*membersView) page() string { return "members" }

// mayOrganization reports whether the caller may read or change the organization.
func (c *call) mayOrganization(a acl.Action) bool {
	return c.may(a, acl.Resource{Type: acl.Orgs, ID: c.org})
}

func (c *call) members() (*membersView, error) {
	list, err := c.keep.Members(c.ctx(), c.caller, c.org, "")
	slices.SortFunc(list, func(a, b keep.Membership) int { // owners first
		return cmp.Or(cmp.Compare(b.Role, a.Role), strings.Compare(a.Name, b.Name))
	})
	return &membersView{Members: list, Change: c.mayOrganization(acl.Write) && !c.caller.Limited()}, err
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
	if !v.Change {
		return c.refuse("members.add")
	}
	role := keep.Member
	if v.Owner = c.form.get("role") == string(keep.Owner); v.Owner {
		role = keep.Owner
	}
	v.Name = c.form.get("name")
	if v.Name == "" {
		v.Errors = []fieldError{{"name", "Enter the name of a user."}}
		return c.show(http.StatusUnprocessableEntity, v)
	}
	users, err := c.keep.Users(c.ctx(), c.caller, keep.UserFilter{Name: v.Name})
	if err != nil && keep.CodeOf(err) != keep.CodeNotFound {
		return err
	}
	if len(users) == 0 {
		v.Errors = []fieldError{{"name", "There is no such user, or you don't have access to it."}}
		return c.show(http.StatusUnprocessableEntity, v)
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
