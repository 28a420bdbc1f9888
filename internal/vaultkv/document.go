package vaultkv

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/jsontext"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

func (c *call) readDocument() error {
	d, warnings, err := c.document("version")
	if err != nil {
		return err
	}
	return c.respondLong(documentStatus(d), warnings, func(b []byte, send httpapi.Sender) []byte { return appendDocument(b, send, d) })
}

// readSubkeys returns the names without the values. Values are never objects,
// so depth makes no difference.
func (c *call) readSubkeys() error {
	if depth := c.r.URL.Query().Get("depth"); depth != "" {
		if _, err := parseNumber(depth); err != nil {
			return wrongField("depth", errNumber)
		}
	}
	d, warnings, err := c.document("version", "depth")
	if err != nil {
		return err
	}
	return c.respondLong(documentStatus(d), warnings, func(b []byte, send httpapi.Sender) []byte {
		b = append(b, `{"metadata":`...)
		b = appendVersion(b, &d.Version, d.Custom)
		b = append(b, `,"subkeys":`...)
		if d.Version.Hidden {
			return append(b, "null}"...)
		}
		b = append(b, '{')
		for i := range d.Secrets {
			if i > 0 {
				b = append(b, ',')
			}
			if len(b) >= httpapi.PartSize {
				b = send(b)
			}
			b = jsontext.AppendString(b, d.Secrets[i].Name)
			b = append(b, ":null"...)
		}
		return append(b, "}}"...)
	})
}

// documentStatus returns the status of a response with a version. A hidden version is
// described, with status 404.
func documentStatus(d *keep.Document) int {
	if d.Version.Hidden {
		return http.StatusNotFound
	}
	return http.StatusOK
}

// document reads the version that the query selects.
func (c *call) document(parameters ...string) (*keep.Document, []string, error) {
	var version uint64
	var warnings []string
	if c.r.URL.RawQuery != "" {
		query := c.r.URL.Query()
		var err error
		if version, err = versionOf(query); err != nil {
			return nil, nil, err
		}
		warnings = warnUnknown(query, parameters...)
	}
	org, err := c.organization()
	if err != nil {
		return nil, nil, err
	}
	d, err := c.keep.Document(c.r.Context(), c.caller, org, version)
	if err != nil {
		return nil, nil, err
	}
	if c.merging && d.Version.Hidden {
		return nil, nil, keep.ErrVersionNotFound
	}
	return &d, warnings, nil
}

func versionOf(query url.Values) (uint64, error) {
	given := query["version"]
	if len(given) == 0 || (len(given) == 1 && given[0] == "") {
		return 0, nil
	}
	n, err := parseNumber(given[0])
	if err != nil || n < 0 || len(given) > 1 {
		return 0, wrongField("version", "one version number is wanted")
	}
	return uint64(n), nil
}

func (c *call) writeDocument() error {
	f, err := c.fieldsOfWriter()
	if err != nil {
		return err
	}
	w, err := f.content(false)
	if err != nil {
		return err
	}
	if !c.merging && w.cas != nil && c.r.Method == http.MethodPut && acl.LooksLikeID(c.r.PathValue("org")) {
		c.warnStrayed()
	}
	return c.change(c.keep.ChangeOrAdopt, w, keep.Change{
		Set: w.set, Replace: true, CAS: w.cas,
		Merge: c.merging, Guard: c.merging, Always: true,
	})
}

// warnStrayed logs, once, that an influxd seems to lack /influxd in its
// VAULT_ADDR. Only influxd is known to write with PUT, to an organization's
// ID, with check-and-set.
func (c *call) warnStrayed() {
	c.strayed.Do(func() {
		c.config.Logger.Warn("an influxd seems to write to /v1/secret, where concurrent writes are not merged and dropped secrets are not pinned; "+
			"add /influxd to its VAULT_ADDR", "organization", c.r.PathValue("org"), "remote", c.origin.Remote, "request", c.origin.Request)
	})
}

func (c *call) patchDocument() error {
	f, err := c.fieldsOfWriter()
	if err != nil {
		return err
	}
	w, err := f.content(true)
	if err != nil {
		return err
	}
	err = c.change(c.keep.Change, w, keep.Change{Set: w.set, Remove: w.remove, CAS: w.cas, Exists: true, Always: true})
	if errors.Is(err, keep.ErrVersionNotFound) {
		return c.nothingToPatch()
	}
	return err
}

// nothingToPatch responds to a patch without a document as Vault does: with
// the metadata of a deleted version, or without a body if there never was one.
func (c *call) nothingToPatch() error {
	if org, err := c.organization(); err == nil {
		// A caller who may only write doesn't get to see it.
		if d, err := c.keep.Document(c.r.Context(), c.caller, org, 0); err == nil && d.Version.Hidden {
			return c.respond(http.StatusNotFound, nil, func(b []byte) []byte { return appendVersion(b, &d.Version, d.Custom) })
		}
	}
	send(c.w, http.StatusNotFound, nil)
	return nil
}

// changeFunc is the signature of Keep.Change and Keep.ChangeOrAdopt.
type changeFunc func(context.Context, keep.Caller, keep.ID, keep.Change) (keep.ChangeResult, error)

func (c *call) change(change changeFunc, w content, ch keep.Change) error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	written, err := change(c.r.Context(), c.caller, org, ch)
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, w.warnings, func(b []byte) []byte {
		return appendVersion(b, &written.Version, written.Custom)
	})
}

func (c *call) deleteDocument() error {
	return c.remove(func(ctx context.Context, caller keep.Caller, org keep.ID) error {
		return c.keep.DeleteVersions(ctx, caller, org)
	})
}
