package influxv2

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// InfluxDB's page sizes.
const (
	defaultPageSize = 20
	maxPageSize     = 100
	maxChanges      = 1000 // in a list of changes, which InfluxDB doesn't have
)

// query reads the parameters of the request. A malformed query is an error:
// ignoring it would show more than requested. The first of duplicate
// parameters counts, as in InfluxDB.
func (c *call) query() (url.Values, error) {
	if c.r.URL.RawQuery == "" {
		return nil, nil
	}
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, invalid("the query can't be read: it must be percent-encoded")
	}
	return q, nil
}

// page reads which part of a list is requested.
func page(q url.Values) (keep.Page, error) { return pageUpTo(maxPageSize, q) }

func pageUpTo(largest int, q url.Values) (p keep.Page, err error) {
	p.Limit = defaultPageSize
	if v := q.Get("offset"); v != "" {
		if p.Offset, err = strconv.Atoi(v); err != nil {
			return p, invalid("offset is invalid")
		}
	}
	if p.After, err = optionalID(q, "after", "decoding after: "); err != nil {
		return p, err
	}
	if v := q.Get("limit"); v != "" {
		if p.Limit, err = strconv.Atoi(v); err != nil {
			return p, invalid("limit is invalid")
		}
		if p.Limit < 1 || p.Limit > largest {
			return p, invalid(fmt.Sprintf("limit must be between 1 and %d", largest))
		}
	}
	if v := q.Get("descending"); v != "" {
		if p.Descending, err = strconv.ParseBool(v); err != nil {
			return p, invalid("descending is invalid")
		}
	}
	return p, nil
}

// optionalID reads a parameter that is an ID, or 0 if it is missing.
func optionalID(q url.Values, name, prefix string) (keep.ID, error) {
	v := q.Get(name)
	if v == "" {
		return 0, nil
	}
	return parseID(v, prefix)
}

func parseID(s, prefix string) (keep.ID, error) {
	id, err := acl.ParseID(s)
	if err != nil {
		return 0, invalid(prefix + err.Error())
	}
	return id, nil
}

// id reads an ID from the path.
func (c *call) id(wildcard string) (keep.ID, error) { return parseID(c.r.PathValue(wildcard), "") }

// organization reads the organization's ID from a path below the organization.
func (c *call) organization() (keep.ID, error) {
	return parseID(c.r.PathValue("orgID"), "corrupt ID provided: ")
}

// hideOrganization replaces the error about an organization that doesn't exist
// or that the caller may not read, for requests to something in it.
func hideOrganization(err error) error {
	if errors.Is(err, keep.ErrOrganizationNotFound) {
		return &keep.Error{Code: keep.CodeNotFound, Message: "404 page not found"}
	}
	return err
}

// invalidRequest returns err about an invalid request to an organization, unless
// the caller may not read the organization, which takes precedence. That is only
// checked here, so that a valid request calls the domain once.
func (c *call) invalidRequest(org keep.ID, err error) error {
	if errors.Is(err, keep.ErrTokenInactive) { // it can't, and the refusal is recorded
		return hideOrganization(keep.ErrOrganizationNotFound)
	}
	if cerr := c.keep.CheckOrganization(c.ctx(), c.caller, org); cerr != nil {
		return hideOrganization(cerr)
	}
	return err
}
