package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Organization owns secrets.
type Organization struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	CreatedAt   time.Time `json:"createdAt,omitzero"`
	UpdatedAt   time.Time `json:"updatedAt,omitzero"`
}

// Organizations returns all organizations that the caller may read.
func (c *Client) Organizations(ctx context.Context) ([]Organization, error) {
	var all []Organization
	err := pages(nil, func(q url.Values) (int, error) {
		list, err := c.organizations(ctx, q)
		all = append(all, list...)
		return len(list), err
	})
	return all, err
}

func (c *Client) organizations(ctx context.Context, q url.Values) ([]Organization, error) {
	var out struct {
		Orgs []Organization `json:"orgs"`
	}
	err := c.get(ctx, &out, q, "orgs")
	return out.Orgs, err
}

// Organization returns one organization by its ID.
func (c *Client) Organization(ctx context.Context, id string) (Organization, error) {
	return get[Organization](ctx, c, nil, "orgs", id)
}

// OrganizationByName returns one organization by its name. If there is none,
// or the caller may not read it, the error is ErrNotFound.
func (c *Client) OrganizationByName(ctx context.Context, name string) (Organization, error) {
	list, err := c.organizations(ctx, values("org", name))
	if err != nil {
		return Organization{}, err
	}
	for _, o := range list {
		if o.Name == name {
			return o, nil
		}
	}
	return Organization{}, notFound("organization", name)
}

func notFound(what, name string) *Error {
	return &Error{Status: http.StatusNotFound, Code: ErrNotFound, Message: fmt.Sprintf("%s %q not found", what, name)}
}

// CreateOrganization creates an organization.
func (c *Client) CreateOrganization(ctx context.Context, name, description string) (Organization, error) {
	in := struct {
		Name        string `json:"name"`
		Description string `json:"description,omitempty"`
	}{name, description}
	return send[Organization](ctx, c, call{method: http.MethodPost, in: in, once: true}, "orgs")
}

// OrganizationUpdate changes the fields that are not nil.
type OrganizationUpdate struct {
	Name        *string `json:"name,omitempty"`
	Description *string `json:"description,omitempty"`
}

// UpdateOrganization changes an organization's name or description.
func (c *Client) UpdateOrganization(ctx context.Context, id string, u OrganizationUpdate) (Organization, error) {
	return send[Organization](ctx, c, call{method: http.MethodPatch, in: u}, "orgs", id)
}

// DeleteOrganization deletes an organization with all its secrets and their
// versions.
func (c *Client) DeleteOrganization(ctx context.Context, id string) error {
	return c.send(ctx, call{method: http.MethodDelete, once: true}, "orgs", id)
}

// Role is a user's role in an organization.
type Role string

// The roles. Members can read; owners can also write.
const (
	RoleMember Role = "member"
	RoleOwner  Role = "owner"
)

func (r Role) plural() string { return string(r) + "s" }

// Member is a user with a role in an organization.
type Member struct {
	User
	Role Role `json:"role"`
}

// Members returns an organization's owners and members.
func (c *Client) Members(ctx context.Context, orgID string) ([]Member, error) {
	var all []Member
	for _, role := range []Role{RoleOwner, RoleMember} {
		var out struct {
			Users []Member `json:"users"`
		}
		if err := c.get(ctx, &out, nil, "orgs", orgID, role.plural()); err != nil {
			return nil, err
		}
		all = append(all, out.Users...)
	}
	return all, nil
}

// AddMember gives a user a role in an organization.
func (c *Client) AddMember(ctx context.Context, orgID, userID string, role Role) error {
	in := struct {
		ID string `json:"id"`
	}{userID}
	return c.send(ctx, call{method: http.MethodPost, in: in, once: true}, "orgs", orgID, role.plural())
}

// RemoveMember removes a user's role in an organization. It is not an error if
// the user did not have it.
func (c *Client) RemoveMember(ctx context.Context, orgID, userID string, role Role) error {
	return c.send(ctx, call{method: http.MethodDelete}, "orgs", orgID, role.plural(), userID)
}
