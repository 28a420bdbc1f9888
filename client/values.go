package client

import (
	"context"
	"net/http"
	"time"
)

// Values are an organization's secrets as they were at one moment.
type Values struct {
	// ETag changes whenever the secrets do.
	ETag    string
	Secrets map[string]string
}

// ValuesQuery says which values to read, and when.
type ValuesQuery struct {
	// Names chooses secrets; nil means all. A name that is not there is left
	// out of the answer.
	Names []string
	// ETag is that of Values which the caller has. When nothing has changed
	// since, the answer has the same ETag and no secrets.
	ETag string
	// Wait lets the server hold the answer back until something changes, for
	// this long at most. It needs an ETag.
	Wait time.Duration
}

// Values reads secrets with their values. changed is false when the query's
// ETag is still right. A nil query reads all.
func (c *Client) Values(ctx context.Context, orgID string, q *ValuesQuery) (v Values, changed bool, err error) {
	p, err := path("orgs", orgID, "secrets", "values")
	if err != nil {
		return Values{}, false, err
	}
	if q == nil {
		q = &ValuesQuery{}
	}
	r := call{method: http.MethodGet, path: p, query: values(), out: &v.Secrets}
	if q.Names != nil {
		r.query["name"] = q.Names
	}
	if q.ETag != "" {
		r.header, r.accept = http.Header{"If-None-Match": {q.ETag}}, http.StatusNotModified
	}
	if q.Wait > 0 && q.ETag != "" {
		r.query.Set("wait", q.Wait.Round(time.Second).String())
	}
	a, err := c.do(ctx, r)
	if err != nil {
		return Values{}, false, err
	}
	if a.status == http.StatusNotModified {
		return Values{ETag: q.ETag}, false, nil
	}
	v.ETag = a.header.Get("ETag")
	return v, true, nil
}

// WriteOptions of a write. Nil is valid.
type WriteOptions struct {
	// IfMatch is the ETag of the Values that the change was made for. When
	// somebody else has changed the secrets since, nothing is written and the
	// error is ErrChanged.
	IfMatch string
	// Progress is called while the request is sent.
	Progress func(sent, total int64)
}

// WriteValues sets secrets and, where the value is nil, removes them: all in
// one version, or none when nothing changes.
func (c *Client) WriteValues(ctx context.Context, orgID string, change map[string]*string, o *WriteOptions) (Written, error) {
	return c.write(ctx, http.MethodPatch, orgID, change, o)
}

// ReplaceValues makes secrets all that the organization has, in one version.
func (c *Client) ReplaceValues(ctx context.Context, orgID string, secrets map[string]string, o *WriteOptions) (Written, error) {
	if secrets == nil {
		secrets = map[string]string{} // null would not say "none"
	}
	return c.write(ctx, http.MethodPut, orgID, secrets, o)
}

func (c *Client) write(ctx context.Context, method, orgID string, in any, o *WriteOptions) (Written, error) {
	p, err := path("orgs", orgID, "secrets", "values")
	if err != nil {
		return Written{}, err
	}
	if o == nil {
		o = &WriteOptions{}
	}
	var out Written
	r := call{method: method, path: p, in: in, out: &out, progress: o.Progress}
	if o.IfMatch != "" {
		r.header = http.Header{"If-Match": {o.IfMatch}}
	}
	a, err := c.do(ctx, r)
	out.ETag = a.header.Get("ETag")
	return out, err
}
