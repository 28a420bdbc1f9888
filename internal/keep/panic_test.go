package keep_test

import (
	"context"
	"io"
	"maps"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// panicking is a store whose transactions panic in the middle, with the context's value.
type panicking struct{ store.Store }

type panicKey struct{}

func (p *panicking) Update(ctx context.Context, fn func(store.Tx) error) error {
	return p.Store.Update(ctx, func(tx store.Tx) error {
		err := fn(tx)
		if with := ctx.Value(panicKey{}); with != nil && err == nil {
			panic(with)
		}
		return err
	})
}

func (p *panicking) View(ctx context.Context, fn func(store.Reader) error) error {
	return p.Store.View(ctx, func(r store.Reader) error {
		if with := ctx.Value(panicKey{}); with != nil {
			panic(with)
		}
		return fn(r)
	})
}

// TestPanics checks that a panic in the middle of a call changes nothing, blocks nothing,
// and leaves nothing readable.
func TestPanics(t *testing.T) {
	k := keeptest.New(t, &keeptest.Options{Wrap: func(s store.Store) store.Store { return &panicking{s} }})
	op := k.Operator(t, keep.InfluxDB)
	k.MustChange(t, set("a", "1"))
	off := false
	token := k.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(k.Org)})
	before := k.Contents(t)
	const value = "canary-of-a-panic"
	ctx := context.WithValue(t.Context(), panicKey{}, value)
	for name, call := range map[string]func() error{
		"write": func() error { _, err := k.Change(ctx, op, k.Org, set("a", value)); return err },
		"read":  func() error { _, err := k.Document(ctx, op, k.Org, 0); return err },
		"token": func() error {
			_, err := k.UpdateToken(ctx, op, token.ID, keep.TokenUpdate{Active: &off, Description: new(string)})
			return err
		},
		"password": func() error { return k.SetPassword(ctx, op, k.Admin, value) },
		"sign in": func() error {
			_, err := k.SignIn(ctx, keep.Anonymous(keeptest.Origin(keep.InfluxDB)), "admin", k.Password)
			return err
		},
		"backup":  func() error { return k.Backup(ctx, op, io.Discard) },
		"compact": func() error { return k.Compact(ctx, op) },
	} {
		func() {
			defer func() {
				if fault := recover(); fault != value {
					t.Errorf("%s: ended with %v", name, fault)
				}
			}()
			t.Errorf("%s: ended with %v and no panic", name, call())
		}()
	}
	if !maps.Equal(before, k.Contents(t)) {
		t.Error("a record was changed")
	}
	if c := k.MustCaller(t, keep.Vault, token.Value); c.Permissions() == nil {
		t.Error("the token doesn't work")
	}
	k.MustChange(t, set("b", "2"))
	if got := k.MustValues(t); !maps.Equal(got, map[string]string{"a": "1", "b": "2"}) {
		t.Errorf("the secrets are %v", got)
	}
	if err := k.Backup(t.Context(), op, io.Discard); err != nil {
		t.Errorf("a backup afterwards: %v", err)
	}
	k.CheckAudit(t)
	k.CheckHidden(t, []string{value}, nil)
}
