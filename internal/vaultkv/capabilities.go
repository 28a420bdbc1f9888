package vaultkv

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// maxCapabilityPaths limits the work of one request.
const maxCapabilityPaths = 100

// may reports whether the caller has a permission on an organization's
// secrets. It only informs the caller about its own permissions; the domain
// enforces them separately.
func (c *call) may(a acl.Action, org keep.ID) bool {
	return c.caller.Permissions().Allows(acl.Permission{Action: a, Resource: acl.Resource{Type: acl.Secrets, OrgID: org}})
}

// capabilities returns the caller's capabilities at paths, in Vault's terms.
func (c *call) capabilities() error {
	f, err := c.fields()
	if err != nil {
		return err
	}
	paths, err := f.paths()
	if err != nil {
		return err
	}
	data := make(map[string]any, len(paths)+1)
	var last []string
	for _, path := range paths {
		if last, err = c.capabilitiesAt(path); err != nil {
			return err
		}
		data[path] = last
	}
	if len(paths) == 1 {
		data["capabilities"] = last
	}
	return c.respondBoth(data, warnUnknown(f, "paths", "path", "token"))
}

// paths reads "paths" or, if that is empty, "path": a list, or a
// comma-separated string.
func (f fields) paths() ([]string, error) {
	var paths []string
	for _, name := range []string{"paths", "path"} {
		raw, ok := f[name]
		if !ok || isNull(raw) || len(paths) > 0 {
			continue
		}
		var text string
		var list []string
		switch {
		case json.Unmarshal(raw, &text) == nil:
			list = strings.Split(text, ",")
		case json.Unmarshal(raw, &list) != nil:
			return nil, wrongField(name, "a list of paths is wanted")
		}
		for _, path := range list {
			if path = strings.TrimSpace(path); path != "" {
				paths = append(paths, path)
			}
		}
	}
	switch {
	case len(paths) == 0:
		return nil, invalid("paths must be supplied")
	case len(paths) > maxCapabilityPaths:
		return nil, invalid("too many paths")
	}
	return paths, nil
}

// ownCapability returns what every token may do to itself, "" at other paths.
func ownCapability(path string) string {
	switch path {
	case "auth/token/lookup-self", "sys/mounts", "sys/auth", "secret/config":
		return "read"
	case "auth/token/create", "auth/token/lookup", "auth/token/lookup-accessor", "auth/token/renew-self", "auth/token/revoke-self", "sys/capabilities-self":
		return "update"
	case "secret/metadata":
		return "list"
	}
	return ""
}

func (c *call) capabilitiesAt(path string) ([]string, error) {
	if c.caller.Operator() {
		return []string{"root"}, nil
	}
	path = strings.Trim(path, "/")
	if own := ownCapability(path); own != "" {
		return []string{own}, nil
	}
	deny := []string{"deny"}
	mount, rest, _ := strings.Cut(path, "/")
	kind, ref, found := strings.Cut(rest, "/")
	if mount != "secret" || !found {
		return deny, nil
	}
	org, err := c.keep.ResolveOrganization(c.r.Context(), c.caller, ref)
	if err != nil {
		switch keep.CodeOf(err) {
		case keep.CodeUnauthorized, keep.CodeForbidden, keep.CodeNotFound:
			return deny, nil
		}
		return nil, err
	}
	if out := c.capabilitiesOf(kind, c.may(acl.Read, org), c.may(acl.Write, org)); len(out) > 0 {
		return out, nil
	}
	return deny, nil
}

// capabilitiesOf lists, in Vault's order, what a caller with these permissions
// on an organization's secrets may do at one of the engine's paths. Tokens
// limited to some names have no access to whole versions.
func (c *call) capabilitiesOf(kind string, read, write bool) []string {
	var out []string
	whole := write && !c.caller.Limited()
	switch kind {
	case "data":
		if write {
			out = append(out, "create", "patch", "update")
		}
		if whole {
			out = append(out, "delete")
		}
		if read {
			out = append(out, "list", "read")
		}
	case "metadata":
		if whole {
			out = append(out, "create", "patch", "update", "delete")
		}
		if read {
			out = append(out, "list", "read")
		}
	case "subkeys":
		if read {
			out = append(out, "read")
		}
	case "delete", "undelete", "destroy":
		if whole {
			out = append(out, "update")
		}
	}
	slices.Sort(out)
	return out
}
