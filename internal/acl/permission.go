package acl

import (
	"errors"
	"strings"
)

// Action is an action that a permission allows.
type Action string

const (
	Read  Action = "read"
	Write Action = "write"
)

// Actions returns all actions, in InfluxDB's order.
func Actions() []Action { return []Action{Read, Write} }

// Type is the type of a resource.
type Type string

// The resource types that have an effect here. Types returns all of
// InfluxDB's: the others are accepted and returned, but grant nothing.
const (
	Authorizations Type = "authorizations"
	Orgs           Type = "orgs"
	Users          Type = "users"
	Secrets        Type = "secrets"
	// Instance covers every resource. Only the user made at setup has it.
	Instance Type = "instance"
)

// Types returns all resource types of InfluxDB 2.x, in its order.
func Types() []Type {
	return []Type{
		Authorizations, "buckets", "dashboards", Orgs, "sources", "tasks", "telegrafs", Users,
		"variables", "scrapers", Secrets, "labels", "views", "documents", "notificationRules",
		"notificationEndpoints", "checks", "dbrp", "notebooks", "annotations", "remotes",
		"replications", Instance,
	}
}

// Resource is the subject of a permission: a type and, if ID or OrgID is not
// zero, one resource or those of one organization.
type Resource struct {
	Type  Type
	ID    ID
	OrgID ID
}

// String formats a resource as in InfluxDB's messages.
func (r Resource) String() string {
	var b strings.Builder
	if r.OrgID != 0 {
		b.WriteString("orgs/" + r.OrgID.String() + "/")
	}
	b.WriteString(string(r.Type))
	if r.ID != 0 {
		b.WriteString("/" + r.ID.String())
	}
	return b.String()
}

// Permission allows an action on a resource.
type Permission struct {
	Action   Action
	Resource Resource
}

func (p Permission) String() string { return string(p.Action) + ":" + p.Resource.String() }

var (
	ErrAction = errors.New("unknown action for permission")
	ErrType   = errors.New("unknown resource type for permission")
)

// Valid returns ErrType or ErrAction if InfluxDB has no such permission.
func (p Permission) Valid() error {
	known := false
	for _, t := range Types() {
		known = known || t == p.Resource.Type
	}
	switch {
	case !known:
		return ErrType
	case p.Action != Read && p.Action != Write:
		return ErrAction
	}
	return nil
}

// Covers reports whether p allows want: want's resource must meet each
// restriction of p. InfluxDB ("matchesV1" in authz.go) ignores the
// organization of a permission that has an ID, which lets the owner of one
// organization reach into another.
func (p Permission) Covers(want Permission) bool {
	held, r := p.Resource, want.Resource
	switch {
	case p.Action != want.Action:
		return false
	case held.Type != Instance && held.Type != r.Type:
		return false
	}
	return (held.ID == 0 || held.ID == r.ID) && (held.OrgID == 0 || held.OrgID == r.organization())
}

// organization returns the organization that the resource belongs to. An
// organization belongs to itself and a user to none, regardless of OrgID.
func (r Resource) organization() ID {
	switch {
	case r.ID != 0 && r.Type == Orgs:
		return r.ID
	case r.ID != 0 && r.Type == Users:
		return 0
	}
	return r.OrgID
}

// Set is a list of permissions. It allows whatever any of them covers.
type Set []Permission

// Allows reports whether one of the permissions covers want.
func (s Set) Allows(want Permission) bool {
	for _, p := range s {
		if p.Covers(want) {
			return true
		}
	}
	return false
}

// AllowsAll reports whether s allows each permission in want.
func (s Set) AllowsAll(want Set) bool {
	for _, p := range want {
		if !s.Allows(p) {
			return false
		}
	}
	return true
}

// Operator returns the permissions of the token created at setup: everything
// but Instance, in all organizations.
func Operator() Set { return forEach(func(t Type) (Resource, bool) { return Resource{Type: t}, true }) }

// Owner returns an owner's permissions in the organization.
func Owner(org ID) Set {
	return forEach(func(t Type) (Resource, bool) { return inOrg(t, org), true })
}

// Member returns a member's permissions in the organization.
func Member(org ID) Set {
	return forEach(func(t Type) (Resource, bool) { return inOrg(t, org), false })
}

// Self returns every user's permissions on their own account.
func Self(user ID) Set {
	r := Resource{Type: Users, ID: user}
	return Set{{Read, r}, {Write, r}}
}

// Everything returns the permissions of an owner of the whole instance.
func Everything() Set {
	r := Resource{Type: Instance}
	return Set{{Read, r}, {Write, r}}
}

func inOrg(t Type, org ID) Resource {
	if t == Orgs {
		return Resource{Type: t, ID: org}
	}
	return Resource{Type: t, OrgID: org}
}

func forEach(resource func(Type) (r Resource, write bool)) Set {
	var s Set
	for _, t := range Types() {
		if t == Instance {
			continue
		}
		r, write := resource(t)
		s = append(s, Permission{Read, r})
		if write {
			s = append(s, Permission{Write, r})
		}
	}
	return s
}
