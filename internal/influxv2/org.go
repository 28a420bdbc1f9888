package influxv2

import (
	"errors"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

type organizationAnswer struct {
	Links       map[string]string `json:"links"`
	ID          keep.ID           `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	CreatedAt   time.Time         `json:"createdAt"`
	UpdatedAt   time.Time         `json:"updatedAt"`
}

func organizationAnswerOf(o keep.Organization) organizationAnswer {
	path := "/api/v2/orgs/" + o.ID.String()
	return organizationAnswer{
		Links: map[string]string{
			"self": path, "logs": path + "/logs", "members": path + "/members", "owners": path + "/owners",
			"secrets": path + "/secrets", "labels": path + "/labels",
			// InfluxDB does not escape the name either.
			"buckets": "/api/v2/buckets?org=" + o.Name, "tasks": "/api/v2/tasks?org=" + o.Name,
			"dashboards": "/api/v2/dashboards?org=" + o.Name,
		},
		ID: o.ID, Name: o.Name, Description: o.Description, CreatedAt: o.Created.UTC(), UpdatedAt: o.Updated.UTC(),
	}
}

type organizationsAnswer struct {
	Links map[string]string    `json:"links"`
	Orgs  []organizationAnswer `json:"orgs"`
}

func (c *call) listOrganizations() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	var f keep.OrganizationFilter
	if f.Page, err = page(q); err != nil {
		return err
	}
	f.Name = q.Get("org")
	if f.ID, err = optionalID(q, "orgID", ""); err != nil {
		return err
	}
	if f.User, err = optionalID(q, "userID", ""); err != nil {
		return err
	}
	orgs, err := c.keep.Organizations(c.ctx(), c.caller, f)
	if err != nil {
		return err
	}
	out := organizationsAnswer{map[string]string{"self": "/api/v2/orgs"}, make([]organizationAnswer, len(orgs))}
	for i, o := range orgs {
		out.Orgs[i] = organizationAnswerOf(o)
	}
	return c.respondList(out)
}

func (c *call) getOrganization() error {
	id, err := c.id("orgID")
	if err != nil {
		return err
	}
	o, err := c.keep.Organization(c.ctx(), c.caller, id)
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, organizationAnswerOf(o))
}

type organizationBody struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	// Validated, but without effect.
	ID        keep.ID   `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

func (c *call) createOrganization() error {
	var body organizationBody
	if err := c.decode(&body, badJSON); err != nil {
		return err
	}
	o, err := c.keep.CreateOrganization(c.ctx(), c.caller, body.Name, body.Description)
	if err != nil {
		return err
	}
	return c.respond(http.StatusCreated, organizationAnswerOf(o))
}

type organizationUpdateBody struct {
	Name        *string // InfluxDB gives it no JSON name, which its messages show
	Description *string `json:"description"`
}

func (c *call) updateOrganization() error {
	id, err := c.id("orgID")
	if err != nil {
		return err
	}
	var body organizationUpdateBody
	if err := c.decode(&body, badJSON); err != nil {
		return err
	}
	o, err := c.keep.UpdateOrganization(c.ctx(), c.caller, id, keep.OrganizationUpdate{Name: body.Name, Description: body.Description})
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, organizationAnswerOf(o))
}

func (c *call) deleteOrganization() error {
	id, err := c.id("orgID")
	if err != nil {
		return err
	}
	err = c.keep.DeleteOrganization(c.ctx(), c.caller, id)
	if errors.Is(err, keep.ErrOrganizationNotFound) {
		return &keep.Error{Code: keep.CodeNotFound, Message: "error deleting organization id: " + id.String() + ": " + keep.ErrOrganizationNotFound.Message}
	}
	if err != nil {
		return err
	}
	return c.noContent()
}
