package keep

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// ImportNamed is an organization of a source that has no IDs. If no organization
// has its name, the import creates one.
type ImportNamed struct {
	Secrets map[string]string
	// Earlier are the secrets' earlier states, oldest first. They become versions
	// of their own if the organization has no secrets here yet.
	Earlier []map[string]string
}

// resolve returns the import with the IDs of the named organizations.
func (in Import) resolve(v *view) (Import, error) {
	if len(in.Named) == 0 {
		return in, nil
	}
	in.Organizations, in.Secrets = slices.Clone(in.Organizations), maps.Clone(in.Secrets)
	if in.Secrets == nil {
		in.Secrets = make(map[ID]map[string]string)
	}
	in.earlier = make(map[ID][]map[string]string)
	names := make(map[ID]string)
	for _, name := range slices.Sorted(maps.Keys(in.Named)) {
		o := Organization{ID: namedID(in.Source, name), Name: name}
		has, err := v.dir.OrganizationNamed(name)
		if err != nil {
			return in, err
		}
		if has != 0 {
			o.ID = has
		}
		old, err := v.dir.Organization(o.ID)
		switch {
		case err == nil:
			o = old
		case !errors.Is(err, ErrOrganizationNotFound):
			return in, err
		}
		if other, ok := names[o.ID]; ok {
			return in, &Error{Code: CodeConflict, Message: fmt.Sprintf("%q and %q of the source are the same organization here", other, name)}
		}
		names[o.ID] = name
		in.Organizations = append(in.Organizations, o)
		in.Secrets[o.ID], in.earlier[o.ID] = in.Named[name].Secrets, in.Named[name].Earlier
	}
	return in, nil
}

// namedID returns the ID of an organization that an import creates: the same at
// each import from a source, even if the organization is renamed here. A name
// that is an ID keeps it, as with an influxd's organizations.
func namedID(source ID, name string) ID {
	if id, err := acl.ParseID(name); err == nil {
		return id
	}
	sum := sha256.Sum256(append(source.Bytes(), name...))
	return max(1, ID(binary.BigEndian.Uint64(sum[:8])))
}
