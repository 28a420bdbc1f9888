package e2e

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
	"github.com/hashicorp/vault/api"
)

func (s *server) vault(token string) *api.Client {
	s.t.Helper()
	config := api.DefaultConfig()
	config.Address = s.url
	c, err := api.NewClient(config)
	if err != nil {
		s.t.Fatal(err)
	}
	c.ClearNamespace()
	c.SetToken(token)
	return c
}

func refusedWith(err error, status int) bool {
	var refused *api.ResponseError
	return errors.As(err, &refused) && refused.StatusCode == status
}

// TestVaultGoClient runs HashiCorp's Go client. The server crashes between the steps,
// and none may be lost.
func TestVaultGoClient(t *testing.T) {
	t.Parallel()
	s := startSetUp(t)
	ctx, c := t.Context(), s.vault(s.token)
	kv := c.KVv2("secret")
	a, b, d := s.secretName("a"), s.secretName("b"), s.secretName("d")
	one, two := s.private("1"), s.private("2")

	want := func(version int, data map[string]string) {
		t.Helper()
		got, err := kv.Get(ctx, s.org)
		if err != nil {
			t.Fatal(err)
		}
		if read := plain(got.Data); got.VersionMetadata.Version != version || !maps.Equal(read, data) {
			t.Errorf("version %d has %q, want %d with %q", got.VersionMetadata.Version, read, version, data)
		}
		// The other view of the same map.
		s.wantValues(data)
	}
	crash := func() {
		t.Helper()
		s.kill()
		s.again()
	}

	if _, err := kv.Get(ctx, s.org); !errors.Is(err, api.ErrSecretNotFound) {
		t.Errorf("a read of a missing document fails with %v", err)
	}
	if _, err := kv.Put(ctx, s.org, map[string]any{a: one, b: ""}, api.WithCheckAndSet(0)); err != nil {
		t.Fatal(err)
	}
	crash()
	want(1, map[string]string{a: one, b: ""})
	if _, err := kv.Put(ctx, s.org, map[string]any{a: two}, api.WithCheckAndSet(0)); !refusedWith(err, 400) {
		t.Errorf("a stale check-and-set: %v", err)
	}
	if _, err := kv.Patch(ctx, s.org, map[string]any{b: nil, d: two}); err != nil {
		t.Fatal(err)
	}
	want(2, map[string]string{a: one, d: two})
	// A write through InfluxDB's protocol is a version here.
	s.set(map[string]string{b: two})
	want(3, map[string]string{a: one, b: two, d: two})
	if _, err := kv.Rollback(ctx, s.org, 1); err != nil {
		t.Fatal(err)
	}
	want(4, map[string]string{a: one, b: ""})

	if err := kv.Delete(ctx, s.org); err != nil {
		t.Fatal(err)
	}
	crash()
	s.wantValues(map[string]string{})
	if gone, err := kv.Get(ctx, s.org); err != nil || gone.Data != nil {
		t.Errorf("deleted: %+v, %v", gone, err)
	}
	if err := kv.Undelete(ctx, s.org, []int{4}); err != nil {
		t.Fatal(err)
	}
	want(4, map[string]string{a: one, b: ""})
	if err := kv.DeleteVersions(ctx, s.org, []int{2}); err != nil {
		t.Fatal(err)
	}
	if err := kv.Destroy(ctx, s.org, []int{3}); err != nil {
		t.Fatal(err)
	}
	if err := kv.PutMetadata(ctx, s.org, api.KVMetadataPutInput{MaxVersions: 7, CustomMetadata: map[string]any{"owner": s.private("operations")}}); err != nil {
		t.Fatal(err)
	}
	crash()
	m, err := kv.GetMetadata(ctx, s.org)
	if err != nil {
		t.Fatal(err)
	}
	if m.MaxVersions != 7 || m.CurrentVersion != 4 || fmt.Sprint(m.CustomMetadata["owner"]) != s.private("operations") {
		t.Errorf("metadata: %+v", m)
	}
	versions, err := kv.GetVersionsAsList(ctx, s.org)
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, v := range versions {
		states = append(states, fmt.Sprint(v.Version, !v.DeletionTime.IsZero(), v.Destroyed))
	}
	if got := fmt.Sprint(states); got != "[1 false false 2 true false 3 false true 4 false false]" {
		t.Errorf("versions (deleted, destroyed): %s", got)
	}
	if list, err := c.Logical().List("secret/metadata"); err != nil || fmt.Sprint(list.Data["keys"]) != "["+s.org+"]" {
		t.Errorf("list: %+v, %v", list, err)
	}
}

func plain(data map[string]any) map[string]string {
	out := map[string]string{}
	for name, value := range data {
		out[name] = fmt.Sprint(value)
	}
	return out
}

// TestVaultGoClientLogin logs in with a token as an AppRole, across a crash.
func TestVaultGoClientLogin(t *testing.T) {
	t.Parallel()
	s := startSetUp(t)
	name := s.secretName("a")
	s.set(map[string]string{name: s.private("v")})
	parent := s.newToken(client.Read)
	c := s.vault("")
	if _, err := c.Logical().Write("auth/approle/login", map[string]any{"role_id": parent.ID, "secret_id": s.private("wrong")}); !refusedWith(err, 400) {
		t.Errorf("a login with a wrong secret: %v", err)
	}
	login := func() *api.Secret {
		t.Helper()
		l, err := c.Logical().Write("auth/approle/login", map[string]any{"role_id": parent.ID, "secret_id": parent.Token})
		if err != nil {
			t.Fatal(err)
		}
		c.SetToken(s.confide(l.Auth.ClientToken))
		return l
	}
	read := func() error {
		_, err := c.KVv2("secret").Get(t.Context(), s.orgID)
		return err
	}
	secret := login()
	if err := read(); err != nil {
		t.Error(err)
	}
	if _, err := c.KVv2("secret").Put(t.Context(), s.orgID, map[string]any{name: "x"}); !refusedWith(err, 403) {
		t.Errorf("a reader writes: %v", err)
	}
	s.kill()
	s.again()
	if err := read(); err != nil {
		t.Errorf("after a crash: %v", err)
	}
	watcher, err := c.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	go watcher.Start()
	defer watcher.Stop()
	select {
	case renewed := <-watcher.RenewCh():
		if renewed.Secret.Auth.LeaseDuration != 3600 {
			t.Errorf("renewed: %+v", renewed.Secret.Auth)
		}
	case err := <-watcher.DoneCh():
		t.Errorf("the watcher ends with %v", err)
	case <-time.After(time.Minute):
		t.Error("the token isn't renewed")
	}
	if err := c.Auth().Token().RevokeSelf(""); err != nil {
		t.Fatal(err)
	}
	if err := read(); !refusedWith(err, 403) {
		t.Errorf("with a token that was revoked: %v", err)
	}
	// It ends with the token from which it was created.
	login()
	if err := s.operator().DeleteToken(t.Context(), parent.ID); err != nil {
		t.Fatal(err)
	}
	if err := read(); !refusedWith(err, 403) {
		t.Errorf("without the token that it came from: %v", err)
	}
}
