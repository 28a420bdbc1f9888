package vaultkv_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/store"
)

// outage is a store that can be made unavailable.
type outage struct {
	store.Store
	on atomic.Bool
}

func (o *outage) View(ctx context.Context, fn func(store.Reader) error) error {
	if o.on.Load() {
		return fmt.Errorf("disk sda1: %w", store.ErrUnavailable)
	}
	return o.Store.View(ctx, fn)
}

func (o *outage) Update(ctx context.Context, fn func(store.Tx) error) error {
	if o.on.Load() {
		return fmt.Errorf("disk sda1: %w", store.ErrUnavailable)
	}
	return o.Store.Update(ctx, fn)
}

// TestUnavailable checks that a client learns only that it may retry.
func TestUnavailable(t *testing.T) {
	o := &outage{}
	s := newServer(t, &keeptest.Options{Wrap: func(inner store.Store) store.Store { o.Store = inner; return o }})
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"1"}}`).want(t, 200)
	o.on.Store(true)
	for _, a := range []answer{
		s.op(t, "GET", s.at("data"), ""),
		s.op(t, "PUT", s.at("data"), `{"data":{"a":"2"}}`),
		s.op(t, "LIST", "/v1/secret/metadata", ""),
		s.do(t, "GET", "/v1/sys/health", "", ""),
		s.do(t, "PUT", "/v1/auth/approle/login", "", `{"role_id":"x","secret_id":"y"}`),
	} {
		a.wantErrors(t, 503, "the store can't be written or read now, try again")
	}
	o.on.Store(false)
	wantValues(t, s, map[string]string{"a": "1"})
}

// TestNothingInPlain checks that neither the disk nor a log contains secrets.
func TestNothingInPlain(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), `{"data":{"marker-name":"marker-value"}}`).want(t, 200)
	s.op(t, "PATCH", s.at("data"), `{"data":{"marker-name":"marker-other"}}`, "Content-Type", mergePatch).want(t, 200)
	s.op(t, "GET", s.at("data"), "").want(t, 200)
	s.op(t, "PUT", s.at("data"), `{"data":{"marker-name":["marker-bad"]}}`).want(t, 400)
	s.do(t, "GET", s.at("data"), "marker-token", "").want(t, 403)
	login := s.do(t, "PUT", "/v1/auth/approle/login", "", `{"role_id":"x","secret_id":"marker-secret-id"}`).want(t, 400)
	if strings.Contains(login.text, "marker") {
		t.Error(login.text)
	}
	s.CheckHidden(t, []string{"marker-value", "marker-other", "marker-bad", "marker-token", "marker-secret-id", s.OperatorToken}, nil)
}

// TestDamage checks that damage is reported and never returned as data.
func TestDamage(t *testing.T) {
	s := newServer(t, nil)
	s.op(t, "PUT", s.at("data"), `{"data":{"a":"hunter2"}}`).want(t, 200)
	s.Tamper()
	err := s.Store().Update(t.Context(), func(tx store.Tx) error {
		var keys, values [][]byte
		err := tx.Scan([]byte("s"), []byte("t"), func(key, value []byte) (bool, error) {
			keys, values = append(keys, bytes.Clone(key)), append(values, bytes.Clone(value))
			return true, nil
		})
		if err != nil || len(keys) != 1 {
			return fmt.Errorf("%d secret records: %w", len(keys), err)
		}
		values[0][len(values[0])-1] ^= 1
		return tx.Set(keys[0], values[0])
	})
	if err != nil {
		t.Fatal(err)
	}
	a := s.op(t, "GET", s.at("data"), "")
	if a.status != 500 || strings.Contains(a.text, "hunter2") || !strings.Contains(a.text, "damaged") {
		t.Errorf("%d %s", a.status, a.text)
	}
}
