package directory

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/errcode"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Each object is stored in two records with the same revision: the object itself
// and its lookup entry (by name, hash or user). If one of them is replaced by an
// older copy, the revisions differ and the object is refused.

type orgRecord struct {
	Revision    uint64    `json:"rev"`
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
	Updated     time.Time `json:"updated"`
}

type userRecord struct {
	Revision uint64    `json:"rev"`
	Name     string    `json:"name"`
	Inactive bool      `json:"inactive,omitempty"`
	Owner    bool      `json:"owner,omitempty"`
	Password []byte    `json:"password,omitempty"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
}

type tokenRecord struct {
	Revision    uint64      `json:"rev"`
	Hash        Hash        `json:"hash"`               // of the token; never the token itself
	Imported    []Hash      `json:"imported,omitempty"` // of the forms in which InfluxDB would store it
	Org         ID          `json:"org"`
	User        ID          `json:"user"`
	Inactive    bool        `json:"inactive,omitempty"`
	Description string      `json:"description,omitempty"`
	Permissions permissions `json:"permissions"`
	Created     time.Time   `json:"created"`
	Updated     time.Time   `json:"updated"`
	Expires     time.Time   `json:"expires,omitzero"`
	Names       []string    `json:"names,omitempty"`
	// Login tokens only.
	Parent ID        `json:"parent,omitzero"`
	Wall   time.Time `json:"wall,omitzero"`
	Fixed  bool      `json:"fixed,omitempty"`
}

// permissions is an acl.Set in its stored form.
type permissions acl.Set

type permissionRecord struct {
	Action acl.Action `json:"a"`
	Type   acl.Type   `json:"t"`
	ID     ID         `json:"i,omitzero"`
	Org    ID         `json:"o,omitzero"`
}

func (s permissions) MarshalJSON() ([]byte, error) {
	out := make([]permissionRecord, len(s))
	for i, p := range s {
		out[i] = permissionRecord{p.Action, p.Resource.Type, p.Resource.ID, p.Resource.OrgID}
	}
	return json.Marshal(out)
}

func (s *permissions) UnmarshalJSON(b []byte) error {
	var in []permissionRecord
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*s = make(permissions, len(in))
	for i, p := range in {
		(*s)[i] = acl.Permission{Action: p.Action, Resource: acl.Resource{Type: p.Type, ID: p.ID, OrgID: p.Org}}
	}
	return nil
}

type sessionRecord struct {
	Revision uint64    `json:"rev"`
	User     ID        `json:"user,omitzero"`  // 0 if signed in with a token
	Token    ID        `json:"token,omitzero"` // the token signed in with
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	Wall     time.Time `json:"wall,omitzero"`
}

// owner returns the user or the token whose session it is.
func (r *sessionRecord) owner() ID {
	return cmp.Or(r.Token, r.User)
}

type memberRecord struct {
	Revision uint64 `json:"rev"`
	Role     Role   `json:"role"`
}

// entryRecord is a lookup entry by name, hash or user.
type entryRecord struct {
	Revision uint64 `json:"rev"`
	ID       ID     `json:"id,omitzero"`
}

// objectsOf returns the table of the objects that the lookup entries in a table point
// to.
func objectsOf(table record.Table) record.Table {
	switch table {
	case record.TableOrgName:
		return record.TableOrg
	case record.TableUserName:
		return record.TableUser
	}
	return record.TableToken
}

// entry returns the lookup entry for a hash, nil if there is none.
func (d Reader) entry(table record.Table, h Hash) (*entryRecord, error) {
	return record.Load[entryRecord](d.r, record.HashKey(table, h))
}

// idOf returns the ID in the lookup entry for a hash, 0 if there is none.
func (d Reader) idOf(table record.Table, h Hash) (ID, error) {
	e, err := d.entry(table, h)
	if err != nil || e == nil {
		return 0, err
	}
	return e.ID, nil
}

// checkEntry checks that an object's lookup entry points to it and was written
// together with it.
func (d Reader) checkEntry(table record.Table, h Hash, id ID, revision uint64) error {
	e, err := d.entry(table, h)
	if err != nil {
		return err
	}
	key := record.Key(objectsOf(table), id)
	if e == nil || e.ID != id {
		return record.Damaged(key, record.ErrNoEntry)
	}
	return record.CheckRevisions(key, revision, e.Revision)
}

// put writes an object and its lookup entry.
func (d Writer) put(table record.Table, h Hash, id ID, revision uint64, r any) error {
	if err := d.w.PutJSON(record.HashKey(table, h), entryRecord{Revision: revision, ID: id}); err != nil {
		return err
	}
	return d.w.PutJSON(record.Key(objectsOf(table), id), r)
}

// delete removes an object and its lookup entry.
func (d Writer) delete(table record.Table, h Hash, id ID) error {
	if err := d.w.Delete(record.HashKey(table, h)); err != nil {
		return err
	}
	return d.w.Delete(record.Key(objectsOf(table), id))
}

// takeName makes sure that no object of a kind has the name with hash h, and removes
// the entry of the name before, zero for a new object.
func (d Writer) takeName(table record.Table, before, h Hash, kind, name string) error {
	if before == h {
		return nil
	}
	if id, err := d.idOf(table, h); err != nil {
		return err
	} else if id != 0 {
		return errcode.Errorf(errcode.Conflict, "%s with name %s already exists", kind, name)
	}
	if before == (Hash{}) {
		return nil
	}
	return d.w.Delete(record.HashKey(table, before))
}
