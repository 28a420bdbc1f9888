package vaultkv

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/jsontext"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

func (c *call) readMetadata() error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	m, err := c.keep.Metadata(c.r.Context(), c.caller, org)
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, warnUnknown(c.r.URL.Query(), "after", "limit"), func(b []byte) []byte { return appendMetadata(b, &m) })
}

func appendMetadata(b []byte, m *keep.Metadata) []byte {
	b = append(b, `{"cas_required":`...)
	b = strconv.AppendBool(b, m.CASRequired)
	b = append(b, `,"created_time":`...)
	b = appendTime(b, m.Created)
	b = append(b, `,"current_metadata_version":`...)
	b = appendUint(b, m.MetadataVersion)
	b = append(b, `,"current_version":`...)
	b = appendUint(b, m.Current)
	b = append(b, `,"custom_metadata":`...)
	b = appendCustom(b, m.Custom)
	b = append(b, `,"delete_version_after":`...)
	b = jsontext.AppendString(b, m.DeleteVersionAfter.String())
	b = append(b, `,"max_versions":`...)
	b = strconv.AppendInt(b, int64(m.MaxVersions), 10)
	b = append(b, `,"metadata_cas_required":`...)
	b = strconv.AppendBool(b, m.MetadataCASRequired)
	b = append(b, `,"oldest_version":`...)
	b = appendUint(b, m.Oldest)
	b = append(b, `,"updated_time":`...)
	b = appendTime(b, m.Updated)
	b = append(b, `,"versions":{`...)
	for i := range m.Versions {
		v := &m.Versions[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = appendUint(b, v.Number)
		b = append(b, `":{"created_time":`...)
		b = appendTime(b, v.Created)
		b = append(b, `,"deletion_time":`...)
		b = appendTime(b, v.Deleted)
		b = append(b, `,"destroyed":`...)
		b = strconv.AppendBool(b, v.Destroyed)
		b = append(b, '}')
	}
	return append(b, '}', '}')
}

func (c *call) writeMetadata() error { return c.updateSettings(false) }

func (c *call) patchMetadata() error { return c.updateSettings(true) }

func (c *call) updateSettings(patch bool) error {
	f, err := c.fieldsOfWriter()
	if err != nil {
		return err
	}
	update, err := f.settings(patch)
	if err != nil {
		return err
	}
	update.Exists = patch
	org, err := c.organization()
	if err != nil {
		return err
	}
	err = c.keep.UpdateSettings(c.r.Context(), c.caller, org, update)
	if errors.Is(err, keep.ErrVersionNotFound) { // nothing to patch
		send(c.w, http.StatusNotFound, nil)
		return nil
	}
	if err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) deleteMetadata() error { return c.remove(c.keep.DeleteAll) }

// readConfig returns the mount's defaults. Settings belong to organizations
// here, so the mount has none to write.
func (c *call) readConfig() error {
	return c.respondJSON(struct {
		CASRequired         bool   `json:"cas_required"`
		DeleteVersionAfter  string `json:"delete_version_after"`
		MaxVersions         int    `json:"max_versions"`
		MetadataCASRequired bool   `json:"metadata_cas_required"`
	}{DeleteVersionAfter: "0s"}, warnUnknown(c.r.URL.Query())...)
}

// listDocuments lists the organizations that have a document the caller may read,
// by name or, if the name can't stand in a path or is unknown, by ID. No path is
// below another, so a scan finds the same as a list.
func (c *call) listDocuments() error {
	query := c.r.URL.Query()
	limit, err := parseNumber(query.Get("limit"))
	if err != nil {
		return wrongField("limit", err)
	}
	after := query.Get("after")
	if c.r.Method == methodScan {
		limit, after = 0, ""
	}
	orgs, err := c.keep.SecretOrganizations(c.r.Context(), c.caller)
	if err != nil {
		return err
	}
	keys := make([]string, 0, len(orgs))
	for _, o := range orgs {
		key := o.ID.String()
		if inPath(o.Name) {
			key = o.Name
		}
		if key > after {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if limit > 0 && int64(len(keys)) > limit {
		keys = keys[:limit]
	}
	return c.respondKeys(keys)
}

// inPath reports whether an organization's name stands for it in the path of every
// client: also of those that don't escape it, and of those that take a slash for a
// folder.
func inPath(name string) bool {
	return name != "" && name != "." && name != ".." && !acl.LooksLikeID(name) && name == strings.TrimSpace(name) &&
		!strings.ContainsAny(name, "/\\?#%") && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// listBelow lists what is below a document, which is always nothing.
func (c *call) listBelow() error {
	org, err := c.organization()
	if err != nil {
		return err
	}
	// Request no values: this refuses callers without permission and records
	// the request in the audit log.
	if _, err := c.keep.Values(c.r.Context(), c.caller, org, []string{}, ""); err != nil {
		return err
	}
	return c.respondKeys(nil)
}

// respondKeys responds to a list or a scan. An empty list is 404, unless there
// are warnings.
func (c *call) respondKeys(keys []string) error {
	warnings := warnUnknown(c.r.URL.Query(), "after", "limit")
	data := map[string]any{}
	switch {
	case len(keys) > 0:
		data["keys"] = keys
	case c.r.Method == methodList && len(warnings) == 0:
		return keep.ErrVersionNotFound
	}
	return c.respondJSON(data, warnings...)
}
