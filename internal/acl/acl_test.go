package acl_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

const (
	acme  acl.ID = 0xa
	other acl.ID = 0xb
	ann   acl.ID = 0x1
)

func read(t acl.Type, org, id acl.ID) acl.Permission {
	return acl.Permission{Action: acl.Read, Resource: acl.Resource{Type: t, OrgID: org, ID: id}}
}

func write(t acl.Type, org, id acl.ID) acl.Permission {
	return acl.Permission{Action: acl.Write, Resource: acl.Resource{Type: t, OrgID: org, ID: id}}
}

func TestSetAllows(t *testing.T) {
	type rule struct {
		name string
		set  acl.Set
		want acl.Permission
		ok   bool
	}
	allow := func(name string, want acl.Permission, set ...acl.Permission) rule { return rule{name, set, want, true} }
	deny := func(name string, want acl.Permission, set ...acl.Permission) rule {
		return rule{name, set, want, false}
	}
	for _, r := range []rule{
		deny("nothing", read(acl.Secrets, acme, 0)),
		allow("same organization", read(acl.Secrets, acme, 0), read(acl.Secrets, acme, 0)),
		deny("other organization", read(acl.Secrets, acme, 0), read(acl.Secrets, other, 0)),
		deny("other action", write(acl.Secrets, acme, 0), read(acl.Secrets, acme, 0)),
		deny("other type", read(acl.Secrets, acme, 0), read("buckets", acme, 0)),
		allow("every organization", read(acl.Secrets, acme, 0), read(acl.Secrets, 0, 0)),
		deny("one secret is not all", read(acl.Secrets, acme, 0), read(acl.Secrets, acme, 1)),
		allow("one organization by ID", read(acl.Orgs, 0, acme), read(acl.Orgs, 0, acme)),
		deny("another by ID", read(acl.Orgs, 0, acme), read(acl.Orgs, 0, other)),
		deny("all, with a permission for one", read(acl.Orgs, 0, 0), read(acl.Orgs, 0, acme)),
		deny("user by ID in an organization", write(acl.Users, 0, ann), write(acl.Users, acme, ann)),
		deny("user by ID, with a permission limited to an organization", write(acl.Users, acme, ann), write(acl.Users, acme, 0)),
		deny("user by ID and organization", write(acl.Users, acme, ann), write(acl.Users, acme, ann)),
		deny("a user, with a permission for an organization's users", write(acl.Users, 0, ann), write(acl.Users, acme, 0)),
		allow("an organization's users, to pass on", write(acl.Users, acme, 0), write(acl.Users, acme, 0)),
		deny("token by ID in another organization", read(acl.Authorizations, acme, 1), read(acl.Authorizations, other, 1)),
		allow("token by ID in its organization", read(acl.Authorizations, acme, 1), read(acl.Authorizations, acme, 1)),
		allow("token by ID anywhere", read(acl.Authorizations, acme, 1), read(acl.Authorizations, 0, 1)),
		deny("another token of the organization", read(acl.Authorizations, acme, 2), read(acl.Authorizations, acme, 1)),
		deny("one token is not all", read(acl.Authorizations, acme, 0), read(acl.Authorizations, acme, 1)),
		deny("organization by ID in another", read(acl.Orgs, 0, acme), read(acl.Orgs, other, acme)),
		deny("another organization, with a permission for one's own", read(acl.Orgs, acme, other), read(acl.Orgs, acme, 0)),
		allow("an organization belongs to itself", read(acl.Orgs, 0, acme), read(acl.Orgs, acme, 0)),
		allow("instance in an organization", read(acl.Secrets, acme, 0), read(acl.Instance, acme, 0)),
		deny("instance in another organization", read(acl.Secrets, acme, 0), read(acl.Instance, other, 0)),
		deny("instance in an organization covers no user", read(acl.Users, acme, ann), read(acl.Instance, acme, 0)),
		allow("instance covers all", write(acl.Secrets, acme, 0), acl.Everything()...),
		deny("operator has no instance", read(acl.Instance, 0, 0), acl.Operator()...),
		allow("operator creates organizations", write(acl.Orgs, 0, 0), acl.Operator()...),
		allow("owner writes", write(acl.Secrets, acme, 0), acl.Owner(acme)...),
		allow("owner renames", write(acl.Orgs, 0, acme), acl.Owner(acme)...),
		deny("owner cannot create organizations", write(acl.Orgs, 0, 0), acl.Owner(acme)...),
		allow("member reads", read(acl.Secrets, acme, 0), acl.Member(acme)...),
		deny("member cannot write", write(acl.Secrets, acme, 0), acl.Member(acme)...),
		allow("own account", write(acl.Users, 0, ann), acl.Self(ann)...),
		deny("others' accounts", read(acl.Users, 0, 2), acl.Self(ann)...),
	} {
		t.Run(r.name, func(t *testing.T) {
			if got := r.set.Allows(r.want); got != r.ok {
				t.Errorf("Allows(%v) = %v, want %v", r.want, got, r.ok)
			}
		})
	}
}

// TestCoversMeetsEveryRestriction tries every pair of permissions in a small
// universe.
func TestCoversMeetsEveryRestriction(t *testing.T) {
	ids := []acl.ID{0, acme, other, ann}
	for _, held := range acl.Types() {
		for _, asked := range acl.Types() {
			for _, org := range ids {
				for _, id := range ids {
					p := read(held, org, id)
					for _, wantOrg := range ids {
						for _, wantID := range ids {
							want := read(asked, wantOrg, wantID)
							belongs := wantOrg
							if wantID != 0 && asked == acl.Orgs {
								belongs = wantID
							} else if wantID != 0 && asked == acl.Users {
								belongs = 0
							}
							met := (held == asked || held == acl.Instance) && (org == 0 || org == belongs) && (id == 0 || id == wantID)
							if p.Covers(want) != met {
								t.Fatalf("%v covers %v: %v", p, want, !met)
							}
						}
					}
				}
			}
		}
	}
}

func TestSizes(t *testing.T) {
	if n := len(acl.Operator()); n != 2*(len(acl.Types())-1) {
		t.Errorf("operator has %d permissions", n)
	}
	if n := len(acl.Member(acme)); n != len(acl.Types())-1 {
		t.Errorf("member has %d permissions", n)
	}
	if !acl.Operator().AllowsAll(acl.Owner(acme)) || acl.Owner(acme).AllowsAll(acl.Operator()) {
		t.Error("an operator has no more permissions than an owner")
	}
}

func TestStrings(t *testing.T) {
	for want, p := range map[string]acl.Permission{
		"read:orgs/000000000000000a/secrets":                  read(acl.Secrets, acme, 0),
		"write:orgs/000000000000000a":                         write(acl.Orgs, 0, acme),
		"read:instance":                                       read(acl.Instance, 0, 0),
		"read:orgs/000000000000000a/secrets/0000000000000001": read(acl.Secrets, acme, 1),
	} {
		if p.String() != want {
			t.Errorf("got %s, want %s", p, want)
		}
	}
}

func TestValid(t *testing.T) {
	if err := read("cakes", acme, 0).Valid(); !errors.Is(err, acl.ErrType) {
		t.Errorf("unknown type: %v", err)
	}
	if err := (acl.Permission{Action: "eat", Resource: acl.Resource{Type: acl.Secrets}}).Valid(); !errors.Is(err, acl.ErrAction) {
		t.Errorf("unknown action: %v", err)
	}
	for _, p := range append(acl.Operator(), acl.Everything()...) {
		if err := p.Valid(); err != nil {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func TestParseID(t *testing.T) {
	for _, c := range []struct {
		in   string
		want acl.ID
		err  error
	}{
		{"000000000000000a", 0xa, nil},
		{"000000000000000A", 0xa, nil},
		{"0000000000000000", 0, acl.ErrID},
		{"zzzzzzzzzzzzzzzz", 0, acl.ErrID},
		{"+00000000000000a", 0, acl.ErrID},
		{"abc", 0, acl.ErrIDLength},
		{"", 0, acl.ErrIDLength},
	} {
		if got, err := acl.ParseID(c.in); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("ParseID(%q) = %v, %v", c.in, got, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("000000000000000a")
	f.Add("ffffffffffffffff")
	f.Add("0_00000000000001")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := acl.ParseID(s)
		if err != nil {
			return
		}
		again, err := acl.ParseID(id.String())
		if err != nil || again != id || id == 0 {
			t.Fatalf("%q gave %v, which parses to %v, %v", s, id, again, err)
		}
	})
}

func TestNewIDAt(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for range 1000 {
		before, now, after := acl.NewIDAt(at.Add(-time.Microsecond)), acl.NewIDAt(at), acl.NewIDAt(at.Add(time.Microsecond))
		if before >= now || now >= after {
			t.Fatalf("%v, %v, %v are not in chronological order", before, now, after)
		}
	}
	if late, last := acl.NewIDAt(at), acl.NewIDAt(time.Date(2110, 1, 1, 0, 0, 0, 0, time.UTC)); late >= last {
		t.Errorf("%v is not before %v", late, last)
	}
}
