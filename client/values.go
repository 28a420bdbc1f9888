package client

import (
	"context"
	"net/http"
	"time"
)

// Values are an organization's secrets at one moment.
type Values struct {
	// ETag changes whenever the secrets change.
	ETag    string
	Secrets map[string]string
}

// ValuesQuery selects the values to read, and when to answer.
type ValuesQuery struct {
	// Names selects secrets; nil means all. Missing names are left out of the
	// answer.
	Names []string
	// ETag is the ETag of the Values that the caller already has. If nothing
	// has changed since, the answer has the same ETag and no secrets.
	ETag string
	// Wait lets the server delay the answer until something changes, for at
	// most this long. It requires an ETag.
	Wait time.Duration
}

// Values reads secrets with their values. changed is false if the query's ETag
// is still current. A nil query reads all secrets.
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

// WriteOptions configures a write. Nil is valid.
type WriteOptions struct {
	// IfMatch is the ETag of the Values that the change is based on. If the
	// secrets have changed since, nothing is written and the error is
	// ErrChanged.
	IfMatch string
	// Progress is called while the request is being sent, by one goroutine at a time, and
	// not after it was answered. It starts anew when the request is sent again.
	Progress func(sent, total int64)
}

// WriteValues sets secrets and deletes those whose value is nil. The whole
// change creates one version, or none if it changes nothing.
func (c *Client) WriteValues(ctx context.Context, orgID string, change map[string]*string, o *WriteOptions) (WriteResult, error) {
	return c.write(ctx, http.MethodPatch, orgID, change, o)
}

// ReplaceValues replaces all of the organization's secrets, in one version.
func (c *Client) ReplaceValues(ctx context.Context, orgID string, secrets map[string]string, o *WriteOptions) (WriteResult, error) {
	if secrets == nil {
		secrets = map[string]string{} // nil would be sent as null
	}
	return c.write(ctx, http.MethodPut, orgID, secrets, o)
}

func (c *Client) write(ctx context.Context, method, orgID string, in any, o *WriteOptions) (WriteResult, error) {
	p, err := path("orgs", orgID, "secrets", "values")
	if err != nil {
		return WriteResult{}, err
	}
	if o == nil {
		o = &WriteOptions{}
	}
	var out WriteResult
	r := call{method: method, path: p, in: in, out: &out, progress: o.Progress}
	if o.IfMatch != "" {
		r.header = http.Header{"If-Match": {o.IfMatch}}
	}
	a, err := c.do(ctx, r)
	out.ETag = a.header.Get("ETag")
	return out, err
}
