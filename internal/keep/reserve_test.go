package keep_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/race"
)

var errBusy = errors.New("busy")

// reservation is the memory that requests reserve, up to a limit of 0 for none.
type reservation struct{ held, limit int64 }

func (r *reservation) reserve(_ context.Context, bytes int64) error {
	if r.limit > 0 && r.held+bytes > r.limit {
		return errBusy
	}
	r.held += bytes
	return nil
}

// TestAnswersAreReserved checks that a document takes no more memory than its request
// may hold, however it is read.
func TestAnswersAreReserved(t *testing.T) {
	var memory reservation
	k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) { c.Reserve = memory.reserve }})
	ch := keep.Change{Set: map[string]string{}}
	var names []string
	for i := range 30 {
		name := string(rune('a' + i))
		names = append(names, name)
		ch.Set[name] = strings.Repeat("x", 100<<10)
	}
	op := k.Operator(t, keep.Vault)
	if _, err := k.Change(t.Context(), op, k.Org, ch); err != nil {
		t.Fatal(err)
	}
	some := k.MustCaller(t, keep.Vault, k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org), Names: []string{"*"}}).Value)
	for name, read := range map[string]func() (keep.Document, error){
		"all":             func() (keep.Document, error) { return k.Document(t.Context(), op, k.Org, 0) },
		"names":           func() (keep.Document, error) { return k.Values(t.Context(), op, k.Org, names, "") },
		"a limited token": func() (keep.Document, error) { return k.Document(t.Context(), some, k.Org, 0) },
	} {
		memory = reservation{}
		d, err := read()
		if err != nil || len(d.Secrets) != 30 || memory.held < 30*100<<10 {
			t.Errorf("%s: %d secrets, %v, and %d bytes are held", name, len(d.Secrets), err, memory.held)
		}
		memory = reservation{limit: 1 << 20}
		if d, err := read(); err == nil || len(d.Secrets) != 0 {
			t.Errorf("%s over the limit: %d secrets, %v", name, len(d.Secrets), err)
		}
	}
}

// TestListsAreReserved checks that a list, and the first read of a large map, take no
// more memory than the request may hold.
func TestListsAreReserved(t *testing.T) {
	race.SkipSequential(t)
	var memory reservation
	k := keeptest.New(t, &keeptest.Options{Configure: func(c *keep.Config) { c.Reserve = memory.reserve }})
	ctx, op := t.Context(), k.Operator(t, keep.InfluxDB)
	const items = 50
	ch := keep.Change{Set: map[string]string{}}
	for i := range items {
		name := fmt.Sprintf("%d%s", i, strings.Repeat("n", 900))
		ch.Set[name] = ""
		if _, err := k.CreateOrganization(ctx, op, name, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := k.AddMember(ctx, op, k.Org, mustUser(t, k, name, "battery staple 1"), keep.Member); err != nil {
			t.Fatal(err)
		}
		k.MustToken(t, keep.NewToken{Description: name, Permissions: keeptest.ReadSecrets(k.Org)})
	}
	if _, err := k.Change(ctx, op, k.Org, ch); err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string]func() (int, error){
		"organizations": func() (int, error) { l, err := k.Organizations(ctx, op, keep.OrganizationFilter{}); return len(l), err },
		"users":         func() (int, error) { l, err := k.Users(ctx, op, keep.UserFilter{}); return len(l), err },
		"members":       func() (int, error) { l, err := k.Members(ctx, op, k.Org, keep.Member); return len(l), err },
		"tokens":        func() (int, error) { l, err := k.Tokens(ctx, op, keep.TokenFilter{}); return len(l), err },
		"history":       func() (int, error) { l, err := k.History(ctx, op, k.Org); return len(l) * items, err },
		"names":         func() (int, error) { l, err := k.SecretNames(ctx, op, k.Org); return len(l), err },
	} {
		k.DropCaches()
		memory = reservation{}
		if n, err := list(); err != nil || n < items || memory.held < items*900 {
			t.Errorf("%s: %d items, %v, and %d bytes are held", name, n, err, memory.held)
		}
		k.DropCaches()
		memory = reservation{limit: items * 900 / 2}
		if n, err := list(); !errors.Is(err, errBusy) {
			t.Errorf("%s over the limit: %d items, %v", name, n, err)
		}
	}
}

// TestSessionPermissionsAreRemembered checks that cached permissions are used exactly as
// long as they are valid.
func TestSessionPermissionsAreRemembered(t *testing.T) {
	k := keeptest.New(t, nil)
	ctx := t.Context()
	ann := mustUser(t, k, "ann", "battery staple 1")
	s, err := k.SignIn(ctx, keep.Anonymous(keeptest.Origin(keep.InfluxDB)), "ann", "battery staple 1")
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range []bool{false, true, false, true} {
		if member {
			_, err = k.AddMember(ctx, k.Operator(t, keep.InfluxDB), k.Org, ann, keep.Owner)
		} else if err = k.RemoveMember(ctx, k.Operator(t, keep.InfluxDB), k.Org, ann); keep.CodeOf(err) == keep.CodeNotFound {
			err = nil
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			c, err := k.AuthenticateSession(ctx, keeptest.Origin(keep.InfluxDB), s.Key)
			if err != nil {
				t.Fatal(err)
			}
			if c.Writes() != true { // its own user
				t.Error("the session may write nothing")
			}
			if _, err := k.SecretNames(ctx, c, k.Org); (err == nil) != member {
				t.Errorf("member %v: %v", member, err)
			}
		}
	}
}
