package directory

import (
	"errors"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Organization owns secrets.
type Organization struct {
	ID          ID
	Name        string
	Description string
	Created     time.Time
	Updated     time.Time
}

// UniqueName returns the part of a name that must be unique. As in InfluxDB,
// surrounding spaces are stored but ignored in comparisons.
func UniqueName(name string) string { return strings.TrimSpace(name) }

func (d Reader) orgHash(name string) Hash { return d.r.Hash("organization", UniqueName(name)) }

// org returns an organization's record, nil if there is none.
func (d Reader) org(id ID) (*orgRecord, error) {
	s := d.snapshot()
	if r, ok := s.orgs.Get(id); ok {
		return r, nil
	}
	r, err := record.Load[orgRecord](d.r, record.Key(record.TableOrg, id))
	if err != nil || r == nil {
		return nil, err
	}
	if err := d.checkEntry(record.TableOrgName, d.orgHash(r.Name), id, r.Revision); err != nil {
		return nil, err
	}
	s.orgs.Put(id, r)
	return r, nil
}

// Organization returns an organization, or ErrOrganizationNotFound.
func (d Reader) Organization(id ID) (Organization, error) {
	r, err := d.org(id)
	if err != nil {
		return Organization{}, err
	}
	if r == nil {
		return Organization{}, ErrOrganizationNotFound
	}
	return Organization{ID: id, Name: r.Name, Description: r.Description, Created: r.Created, Updated: r.Updated}, nil
}

// FindOrganization resolves a reference by name, and returns 0 if there is no
// such organization. A name that looks like an ID always means the organization
// with that ID. Otherwise an organization could be named after another one's ID
// and receive data meant for the other.
func (d Reader) FindOrganization(name string) (ID, error) {
	s := d.snapshot()
	if id, ok := s.names.Get(name); ok {
		return id, nil
	}
	id, err := d.findOrganization(name)
	if err == nil && id != 0 {
		s.names.Put(strings.Clone(name), id)
	}
	return id, err
}

func (d Reader) findOrganization(name string) (ID, error) {
	if !acl.LooksLikeID(UniqueName(name)) {
		return d.OrganizationNamed(name)
	}
	id, err := acl.ParseID(UniqueName(name))
	if err != nil {
		return 0, nil // the zero ID
	}
	if _, err = d.Organization(id); errors.Is(err, ErrOrganizationNotFound) {
		return 0, nil
	}
	return id, err
}

// OrganizationNamed returns the organization with a name, 0 if there is none.
func (d Reader) OrganizationNamed(name string) (ID, error) {
	return d.idOf(record.TableOrgName, d.orgHash(name))
}

// EachOrganization calls fn with the ID of each organization, in order.
func (d Reader) EachOrganization(fn func(ID) error) error { return d.r.ScanIDs(record.TableOrg, fn) }

// PutOrganization creates or replaces an organization.
func (d Writer) PutOrganization(o Organization) error {
	old, err := d.org(o.ID)
	if err != nil {
		return err
	}
	r := &orgRecord{Name: o.Name, Description: o.Description, Created: o.Created, Updated: o.Updated}
	var before Hash
	if old != nil {
		r.Revision, before = old.Revision+1, d.orgHash(old.Name)
	}
	h := d.orgHash(r.Name)
	if err := d.takeName(record.TableOrgName, before, h, "organization", r.Name); err != nil {
		return err
	}
	return d.put(record.TableOrgName, h, o.ID, r.Revision, r)
}

// DeleteOrganization removes an organization and its memberships. It returns
// ErrOrganizationNotFound if there is none.
func (d Writer) DeleteOrganization(id ID) error {
	o, err := d.Organization(id)
	if err != nil {
		return err
	}
	if err := d.delete(record.TableOrgName, d.orgHash(o.Name), id); err != nil {
		return err
	}
	if err := d.markSetUp(); err != nil {
		return err
	}
	return d.deleteMembers(record.TableMember, id)
}
