package client

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// SecretChange is a change of one secret: it got a value, or was removed.
type SecretChange struct {
	Name    string `json:"name"`
	Version uint64 `json:"version"`
	// ChangedAt is zero, and the author empty, if the change is from before the
	// server stored them with each secret, and its version is gone. A token
	// limited to some names doesn't learn who else changed a secret.
	ChangedAt   time.Time `json:"changedAt,omitzero"`
	UserID      string    `json:"userID,omitempty"`
	User        string    `json:"user,omitempty"` // the name, if the token may know it
	TokenID     string    `json:"tokenID,omitempty"`
	Description string    `json:"description,omitempty"` // the token's, if the caller may know it
	Protocol    string    `json:"protocol,omitempty"`
	Removed     bool      `json:"removed,omitempty"`
	// Hidden means that the value can't be read, because the versions that have it
	// are deleted.
	Hidden bool `json:"hidden,omitempty"`
}

// ChangesQuery selects and orders secrets.
type ChangesQuery struct {
	Filter     string // selects names; * matches any text
	ByChange   bool   // in the order of their last changes, else of their names
	Descending bool
	Offset     int
	Limit      int // at most 1000; 0 means all
}

const changesPage = 1000 // the server's largest

// SecretChanges returns the last change of each of an organization's secrets, and
// the number of secrets that match the query. A nil query returns all.
func (c *Client) SecretChanges(ctx context.Context, orgID string, q *ChangesQuery) (list []SecretChange, total int, err error) {
	if q == nil {
		q = &ChangesQuery{}
	}
	query := values("filter", q.Filter)
	if q.ByChange {
		query.Set("sort", "changed")
	}
	if q.Descending {
		query.Set("descending", "true")
	}
	limit := q.Limit
	if limit == 0 {
		limit = changesPage
	}
	query.Set("limit", strconv.Itoa(limit))
	for {
		query.Set("offset", strconv.Itoa(q.Offset+len(list)))
		var page struct {
			Changes []SecretChange `json:"changes"`
			Total   int            `json:"total"`
		}
		if err := c.get(ctx, &page, query, "orgs", orgID, "secrets", "changes"); err != nil {
			return nil, 0, err
		}
		list = append(list, page.Changes...)
		if q.Limit > 0 || len(page.Changes) < changesPage {
			return list, page.Total, nil
		}
	}
}

// SecretHistory returns the last changes of one secret, newest first: as many as
// the server stores versions, however often other secrets changed.
func (c *Client) SecretHistory(ctx context.Context, orgID, name string) ([]SecretChange, error) {
	var out struct {
		Changes []SecretChange `json:"changes"`
	}
	query := values()
	query.Set("name", name)
	err := c.get(ctx, &out, query, "orgs", orgID, "secrets", "changes")
	return out.Changes, err
}

// ValuesAt returns the values that the named secrets had in a version; those without
// one are left out. It also finds values that a secret got in a version which is no
// longer stored, if they belong to its history. Without names, it returns all
// secrets of a stored version.
func (c *Client) ValuesAt(ctx context.Context, orgID string, version uint64, names ...string) (map[string]string, error) {
	out := map[string]string{}
	query := values("version", strconv.FormatUint(version, 10))
	if len(names) > 0 {
		query["name"] = names
	}
	err := c.get(ctx, &out, query, "orgs", orgID, "secrets", "values")
	return out, err
}

// RollbackSecret gives one secret the value that it had in an earlier version.
func (c *Client) RollbackSecret(ctx context.Context, orgID, name string, version uint64) (WriteResult, error) {
	in := struct {
		Version uint64 `json:"version"`
		Name    string `json:"name"`
	}{version, name}
	return send[WriteResult](ctx, c, call{method: http.MethodPost, in: in, once: true}, "orgs", orgID, "secrets", "rollback")
}
