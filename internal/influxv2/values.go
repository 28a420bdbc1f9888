package influxv2

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// maxWait is how long a request may wait for a change.
const maxWait = 5 * time.Minute

// getValues sends the secrets' values, all or those selected by the parameter
// name. With If-None-Match it sends 304 if nothing has changed; with the
// parameter wait it first waits for a change. With the parameter version it sends
// the values of that version.
func (c *call) getValues() error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	q, err := c.valuesQuery()
	if err != nil {
		return c.invalidRequest(org, err)
	}
	if q.version != 0 {
		return c.getValuesAt(org, q)
	}
	view := c.view(q.names)
	known, err := c.knownTag(org, view)
	if err != nil {
		return hideOrganization(err)
	}
	d, err := c.keep.Values(c.ctx(), c.caller, org, q.names, known)
	if err == nil && d.Tag == known && q.wait > 0 {
		err = c.waiting(q.wait, func(ctx context.Context) error { return c.keep.Wait(ctx, c.caller, org, known) })
		if err == nil {
			d, err = c.keep.Values(c.ctx(), c.caller, org, q.names, known)
		}
	}
	if err != nil {
		return hideOrganization(err)
	}
	c.w.Header().Set("ETag", etag(d.Tag, view))
	if d.Tag == known {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return c.respondBuffered(func(b []byte, send httpapi.Sender) []byte { return appendSecrets(b, send, d.Secrets) })
}

type valuesQuery struct {
	names []string // nil for all
	wait  time.Duration
	// version is 0 for the current values.
	version uint64
}

func (c *call) valuesQuery() (out valuesQuery, err error) {
	q, err := c.query()
	if err != nil {
		return out, err
	}
	out.names = q["name"]
	if v := q.Get("wait"); v != "" {
		if out.wait, err = parseWait(v); err != nil {
			return out, err
		}
	}
	if v := q.Get("version"); v != "" {
		if out.version, err = strconv.ParseUint(v, 10, 64); err != nil || out.version == 0 {
			return out, invalid("version must be the number of a version")
		}
		out.wait = 0 // a version doesn't change
	}
	return out, nil
}

// getValuesAt sends the values of a version.
func (c *call) getValuesAt(org keep.ID, q valuesQuery) error {
	secrets, err := c.keep.ValuesAt(c.ctx(), c.caller, org, q.names, q.version)
	if err != nil {
		return hideOrganization(err)
	}
	return c.respondBuffered(func(b []byte, send httpapi.Sender) []byte { return appendSecrets(b, send, secrets) })
}

func parseWait(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxWait {
		return 0, invalid("wait must be a duration from 0s to 5m, such as 30s")
	}
	return d, nil
}

// waiting runs fn, whose context ends when the time is up or the server stops. Then it
// finds the caller again, who may have lost its rights in the meantime.
func (c *call) waiting(d time.Duration, fn func(context.Context) error) error {
	done, err := httpapi.ExchangeOf(c.ctx()).Wait()
	if err != nil {
		return err
	}
	defer done()
	c.extend(d + time.Minute)
	ctx, cancel := context.WithTimeout(c.ctx(), d)
	defer cancel()
	if c.config.Done != nil {
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			select {
			case <-c.config.Done:
				cancel()
			case <-stop:
			}
		}()
	}
	if err := fn(ctx); err != nil {
		return err
	}
	caller, err := c.authenticate(c.r)
	if err != nil {
		return err
	}
	caller.OrganizationFirst = c.caller.OrganizationFirst
	c.caller = caller
	return nil
}

// extend extends a request's deadlines beyond the server's defaults, if the
// writer has any.
func (c *call) extend(d time.Duration) {
	rc, end := http.NewResponseController(c.w), time.Now().Add(d)
	_ = rc.SetReadDeadline(end)
	_ = rc.SetWriteDeadline(end)
}

// An ETag is the domain's tag, which changes with every version, plus what
// distinguishes the views of one version: the selected names, and the token if
// it is limited to some names.

func (c *call) view(names []string) string {
	if names == nil && !c.caller.Limited() {
		return ""
	}
	sum := sha256.New()
	if c.caller.Limited() {
		sum.Write(c.caller.Token.Bytes())
	}
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	for _, name := range slices.Compact(sorted) {
		sum.Write(binary.AppendUvarint(nil, uint64(len(name))))
		io.WriteString(sum, name)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

func etag(tag, view string) string {
	if view != "" {
		tag += "-" + view
	}
	return `"` + tag + `"`
}

// knownTag returns the tag of the client's version, or "".
func (c *call) knownTag(org keep.ID, view string) (string, error) {
	for _, header := range c.r.Header.Values("If-None-Match") {
		for part := range strings.SplitSeq(header, ",") {
			part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
			if part == "*" { // any current version
				d, err := c.keep.Values(c.ctx(), c.caller, org, []string{}, "")
				return d.Tag, err
			}
			if tag, v, ok := parseETag(part); ok && v == view {
				return tag, nil
			}
		}
	}
	return "", nil
}

// parseETag splits an ETag. ok is false if it isn't one of ours.
func parseETag(s string) (tag, view string, ok bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' || strings.Count(s, `"`) != 2 {
		return "", "", false
	}
	tag, view, _ = strings.Cut(s[1:len(s)-1], "-")
	return tag, view, strings.Count(tag, ".") == 2
}

// ifMatch makes a change conditional on the header If-Match.
func (c *call) ifMatch(ch *keep.Change) error {
	headers := c.r.Header.Values("If-Match")
	if len(headers) == 0 {
		return nil
	}
	if headers[0] == "*" {
		ch.Exists = true
		return nil
	}
	tag, _, ok := parseETag(headers[0])
	if !ok || len(headers) > 1 {
		return invalid("If-Match must be one ETag of the organization's values, or *")
	}
	ch.Tag = tag
	return nil
}

func (c *call) patchValues() error { return c.writeValues(false) }
func (c *call) putValues() error   { return c.writeValues(true) }

// writeValues reads an import and creates one version from it.
func (c *call) writeValues(replace bool) error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	if err := c.allowWrite(org); err != nil {
		return err
	}
	ch := keep.Change{Replace: replace}
	if err := c.ifMatch(&ch); err != nil {
		return c.invalidRequest(org, err)
	}
	if err := c.readImport(org, &ch); err != nil {
		return c.invalidRequest(org, err)
	}
	w, err := c.keep.Change(c.ctx(), c.caller, org, ch)
	if err != nil {
		return hideOrganization(preconditionError(ch, err))
	}
	return c.respondWritten(w)
}

// allowWrite refuses callers who may not write an organization's secrets,
// before the body is read.
func (c *call) allowWrite(org keep.ID) error {
	if c.mayWrite(org) {
		return nil
	}
	_, err := c.keep.Change(c.ctx(), c.caller, org, keep.Change{})
	return hideOrganization(err)
}

func (c *call) mayWrite(org keep.ID) bool {
	return c.caller.Permissions().AllowsAll(acl.Set{
		{Action: acl.Read, Resource: acl.Resource{Type: acl.Orgs, ID: org}},
		{Action: acl.Write, Resource: acl.Resource{Type: acl.Secrets, OrgID: org}},
	})
}

// preconditionError reports that If-Match no longer holds.
func preconditionError(ch keep.Change, err error) error {
	if (ch.Tag != "" && errors.Is(err, keep.ErrCASMismatch)) || (ch.Exists && errors.Is(err, keep.ErrVersionNotFound)) {
		return &keep.Error{Code: codePrecondition, Message: "the secrets are no longer those of If-Match"}
	}
	return err
}

// respondWritten reports what a write did. The ETag, for callers who may read,
// is that of all values after the write.
func (c *call) respondWritten(w keep.ChangeResult) error {
	if w.Tag != "" {
		c.w.Header().Set("ETag", etag(w.Tag, c.view(nil)))
	}
	return c.respond(http.StatusOK, writtenBody{w.Version.Number, w.Changed})
}

type writtenBody struct {
	Version uint64 `json:"version"`
	Changed bool   `json:"changed"`
}
