package keep

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Secret is a name with its value.
type Secret struct {
	Name    string
	Value   string
	Version uint64 // in which the value was written
}

// Document is what one version of an organization's secrets shows.
type Document struct {
	Version VersionInfo
	Custom  map[string]string // custom_metadata
	// Secrets are in byte order of their names; none when the version is
	// hidden.
	Secrets []Secret
	// Tag changes whenever what there is to see changes.
	Tag string
}

// reading finds what a caller may read of an organization.
type reading struct {
	*view
	head  *headRecord
	state *stateRecord
}

func (v *view) reading(c *Caller, org ID) (*reading, error) {
	if err := v.allowSecrets(c, acl.Read, org); err != nil {
		return nil, err
	}
	h, s, err := v.head(org)
	if err != nil {
		return nil, err
	}
	return &reading{v, h, s}, nil
}

func (r *reading) empty() bool { return r.head.empty(r.state, r.Now) }

func (r *reading) tag() string { return tag(r.head, r.state, r.Now) }

// tag identifies what there is to see: the map, its current version, and
// whether that one is hidden.
func tag(h *headRecord, s *stateRecord, now time.Time) string {
	b := append(make([]byte, 0, 48), h.Map.String()...)
	b = strconv.AppendUint(append(b, '.'), h.Current, 10)
	if h.empty(s, now) {
		return string(append(b, ".0"...))
	}
	return string(append(b, ".1"...))
}

// SecretNames returns the names of an organization's secrets, in byte order.
// Needs read on the organization's secrets. The slice must not be changed.
func (k *Keep) SecretNames(ctx context.Context, c Caller, org ID) ([]string, error) {
	var out []string
	rec := c.record("secrets.list", org)
	err := k.read(ctx, rec, func(v *view) error {
		out = nil
		r, err := v.reading(&c, org)
		if err != nil {
			return err
		}
		rec.Version = r.head.Current
		if r.empty() {
			return nil
		}
		s, err := r.snapshot(r.head, r.state, r.head.Current, true)
		if err != nil {
			return err
		}
		if out = s.names; !c.Limited() {
			return nil
		}
		out = make([]string, 0, len(s.names))
		for _, name := range s.names {
			if c.sees(name) {
				out = append(out, name)
			}
		}
		return nil
	})
	return out, err
}

// SecretOrganizations returns the organizations that have versions of secrets
// or settings for them, and whose secrets the caller may read, in the order of
// their IDs.
func (k *Keep) SecretOrganizations(ctx context.Context, c Caller) ([]ID, error) {
	var out []ID
	err := k.read(ctx, c.record("secrets.organizations", 0), func(v *view) error {
		out = nil
		if c.inactive {
			return ErrTokenInactive
		}
		return v.ScanIDs(record.TableHead, func(id ID) error {
			if c.maySecrets(acl.Read, id) != nil {
				return nil
			}
			h, _, err := v.head(id)
			if err == nil && h.Map != 0 {
				out = append(out, id)
			}
			return err
		})
	})
	return out, err
}

// Document returns what a version shows; 0 is the current one. Needs read on
// the organization's secrets. ErrVersionNotFound when there is no such
// version; a hidden version comes without secrets.
func (k *Keep) Document(ctx context.Context, c Caller, org ID, version uint64) (Document, error) {
	var out Document
	rec := c.record("secrets.read", org)
	err := k.read(ctx, rec, func(v *view) error {
		r, err := v.reading(&c, org)
		if err != nil {
			return err
		}
		n := version
		if n == 0 {
			n = r.head.Current
		}
		if !r.head.kept(r.state, n) {
			return ErrVersionNotFound
		}
		rec.Version = n
		out, rec.Names, err = r.document(&c, n, nil)
		return err
	})
	return out, err
}

func namesOf(secrets []Secret) []string {
	names := make([]string, len(secrets))
	for i, s := range secrets {
		names[i] = s.Name
	}
	return names
}

// document reads a version; only, if not nil, chooses names. It also returns
// the names of what was read, which must not be changed.
func (r *reading) document(c *Caller, n uint64, only []string) (Document, []string, error) {
	if r.state.hidden(n, r.Now) || only != nil {
		out, err := r.part(c, n, only)
		return out, namesOf(out.Secrets), err
	}
	s, err := r.snapshot(r.head, r.state, n, true)
	if err != nil {
		return Document{}, nil, err
	}
	out := r.describe(n, s.record)
	if !c.Limited() {
		out.Secrets, err = r.secrets(s)
		return out, s.names, err
	}
	var names []string
	for i, name := range s.names {
		if !c.sees(name) {
			continue
		}
		value, err := r.value(s, i)
		if err != nil {
			return Document{}, nil, err
		}
		out.Secrets = append(out.Secrets, Secret{name, value, s.written[i]})
		names = append(names, name)
	}
	return out, names, nil
}

func (r *reading) describe(n uint64, vr *versionRecord) Document {
	return Document{Version: describeVersion(n, vr, r.state, r.Now), Custom: r.state.Custom, Tag: r.tag()}
}

// part reads what a version shows of some names, or that it is hidden.
func (r *reading) part(c *Caller, n uint64, only []string) (Document, error) {
	vr, err := r.version(r.head.Map, n)
	if err != nil {
		return Document{}, err
	}
	out := r.describe(n, vr)
	if out.Version.Hidden {
		return out, nil
	}
	return out, r.choose(c, n, only, &out)
}

// choose reads single names, which costs the same in a small organization and
// in a large one.
func (r *reading) choose(c *Caller, n uint64, only []string, out *Document) error {
	only = slices.Clone(only)
	slices.Sort(only)
	for _, name := range slices.Compact(only) {
		if !c.sees(name) {
			continue
		}
		e, value, ok, err := r.secret(r.head.Map, name, n)
		if err != nil {
			return err
		}
		if ok {
			out.Secrets = append(out.Secrets, Secret{name, value, e.version})
		}
	}
	return nil
}

// Values returns the current values of the names, of all when names is nil;
// a name that is not there is left out. With a tag that is still right it
// returns a Document with that Tag and no secrets: nothing has changed. Needs
// read on the organization's secrets.
func (k *Keep) Values(ctx context.Context, c Caller, org ID, names []string, tag string) (Document, error) {
	var out Document
	rec := c.record("secrets.read", org)
	err := k.read(ctx, rec, func(v *view) error {
		r, err := v.reading(&c, org)
		if err != nil {
			return err
		}
		rec.Version = r.head.Current
		out = Document{Tag: r.tag()}
		if r.empty() || out.Tag == tag {
			return nil
		}
		out, rec.Names, err = r.document(&c, r.head.Current, names)
		return err
	})
	return out, err
}
