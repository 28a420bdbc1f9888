package influxv2

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// Sizes of a page of a list, as InfluxDB has them.
const (
	defaultPageSize = 20
	maxPageSize     = 100
)

// query reads the parameters of the request. A malformed one is an error: to
// ignore it would show more than was asked for. Of one that is there twice the
// first counts, as in InfluxDB.
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

// page reads which part of a list is asked for.
func page(q url.Values) (p keep.Page, err error) {
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
		if p.Limit < 1 || p.Limit > maxPageSize {
			return p, invalid(fmt.Sprintf("limit must be between 1 and %d", maxPageSize))
		}
	}
	if v := q.Get("descending"); v != "" {
		if p.Descending, err = strconv.ParseBool(v); err != nil {
			return p, invalid("descending is invalid")
		}
	}
	return p, nil
}

// optionalID reads a parameter that is an ID, 0 when it is not there.
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

// organization reads the organization's ID from the path of what belongs to
// it.
func (c *call) organization() (keep.ID, error) {
	return parseID(c.r.PathValue("orgID"), "corrupt ID provided: ")
}

// hidden is what is said of an organization that is not there or that the
// caller may not read, when something of it is asked for.
func hidden(err error) error {
	if errors.Is(err, keep.ErrOrganizationNotFound) {
		return &keep.Error{Code: keep.CodeNotFound, Message: "404 page not found"}
	}
	return err
}

// wrong is for what is wrong with a request to an organization. The question
// whether the caller may read the organization comes first, and it is asked
// only now, so that a request that is right asks the domain once.
func (c *call) wrong(org keep.ID, err error) error {
	if errors.Is(err, keep.ErrTokenInactive) { // it can't, and that is recorded
		return hidden(keep.ErrOrganizationNotFound)
	}
	if cerr := c.keep.CheckOrganization(c.ctx(), c.caller, org); cerr != nil {
		return hidden(cerr)
	}
	return err
}
