package keep_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/race"
	"golang.org/x/crypto/bcrypt"
)

// A missing or malformed credential identifies nobody, even if its hash is stored.
func TestNoTokenIsNotAToken(t *testing.T) {
	k := keeptest.New(t, nil)
	op := k.Operator(t, keep.InfluxDB)
	for i, value := range []string{"", " ", "tok\n", "tok ", "\tok", "to\x00k"} {
		for _, algorithm := range []string{"sha256", "sha512"} {
			id := keep.ID(0x1000 + i)
			if algorithm == "sha512" {
				id += 0x100
			}
			token := keep.ImportToken{Hash: influxHash(algorithm, value), Token: keep.Token{
				ID: id, Org: k.Org, User: op.User, Active: true, Permissions: acl.Operator(),
			}}
			if err := k.PlantToken(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			if c, err := k.Authenticate(t.Context(), keep.Origin{Protocol: keep.InfluxDB}, value); !errors.Is(err, keep.ErrUnauthenticated) || c.User != 0 {
				t.Errorf("%q is user %v, %v", value, c.User, err)
			}
			if _, err := k.Login(t.Context(), keep.Anonymous(keep.Origin{Protocol: keep.Vault}), id.String(), value); !errors.Is(err, keep.ErrUnauthenticated) {
				t.Errorf("login with %q: %v", value, err)
			}
		}
	}
	if c, err := k.AuthenticateSession(t.Context(), keep.Origin{Protocol: keep.InfluxDB}, ""); !errors.Is(err, keep.ErrUnauthenticated) || c.User != 0 {
		t.Errorf("an empty session is user %v, %v", c.User, err)
	}
}

func TestImportRefusesDangerousCredentials(t *testing.T) {
	race.SkipSequential(t)
	costly, err := bcrypt.GenerateFromPassword([]byte(annPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	copy(costly[4:], "11")
	with := func(p ...acl.Resource) func(*keep.Import) {
		return func(in *keep.Import) {
			for _, r := range p {
				in.Tokens[0].Permissions = append(in.Tokens[0].Permissions, acl.Permission{Action: acl.Write, Resource: r})
			}
		}
	}
	hash := func(value string) func(*keep.Import) {
		return func(in *keep.Import) { in.Tokens[0].Value, in.Tokens[0].Hash = "", value }
	}
	for name, c := range map[string]struct {
		change  func(*keep.Import)
		refused bool
	}{
		"as it is":                        {func(*keep.Import) {}, false},
		"no token":                        {hash(""), true},
		"SHA-256 of the empty text":       {hash(influxHash("sha256", "")), true},
		"SHA-512 of the empty text":       {hash(influxHash("sha512", "")), true},
		"a user in an organization":       {with(acl.Resource{Type: acl.Users, ID: importBob, OrgID: importOrg}), true},
		"a user":                          {with(acl.Resource{Type: acl.Users, ID: importBob}), false},
		"an organization in another":      {with(acl.Resource{Type: acl.Orgs, ID: importOther, OrgID: importOrg}), true},
		"an organization in itself":       {with(acl.Resource{Type: acl.Orgs, ID: importOther, OrgID: importOther}), false},
		"a token in another organization": {with(acl.Resource{Type: acl.Authorizations, ID: importShort, OrgID: importOther}), true},
		"a token in its organization":     {with(acl.Resource{Type: acl.Authorizations, ID: importShort, OrgID: importOrg}), false},
		"a costly password":               {func(in *keep.Import) { in.Users[0].Password = costly }, true},
		"a hash that is not bcrypt's":     {func(in *keep.Import) { in.Users[0].Password = []byte("secret") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := keeptest.New(t, nil)
			in := source(t)
			in.Tokens[0].Permissions = slices.Clone(in.Tokens[0].Permissions)
			c.change(&in)
			r := mustImport(t, k, in)
			refused := slices.ContainsFunc(r.Remarks, func(m keep.ImportRemark) bool { return m.Outcome == keep.ImportRefused })
			if refused != c.refused {
				t.Errorf("refused: %v, want %v; %v", refused, c.refused, left(r))
			}
		})
	}
}

// A wrong password costs the same work for every user, and for users that don't exist.
func TestWrongPasswordsCostTheSame(t *testing.T) {
	const cost = 6
	hashes := map[string][]byte{"no user": nil}
	for c := bcrypt.MinCost; c <= cost; c++ {
		h, err := bcrypt.GenerateFromPassword([]byte(annPassword), c)
		if err != nil {
			t.Fatal(err)
		}
		hashes[string(h)] = h
	}
	for name, h := range hashes {
		costs, err := keep.PasswordCosts(cost, h)
		work := 0
		for _, c := range costs {
			work += 1 << c
		}
		if err != nil || work != 1<<cost {
			t.Errorf("%s: %v is %d rounds, want %d; %v", name, costs, work, 1<<cost, err)
		}
	}
}
