package vaultkv_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// vaultClient returns HashiCorp's own client, unmodified.
func vaultClient(t *testing.T, s *server, token string) *api.Client {
	t.Helper()
	listener := httptest.NewServer(s)
	t.Cleanup(listener.Close)
	config := api.DefaultConfig()
	config.Address = listener.URL
	config.MaxRetries = 0
	c, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	c.SetToken(token)
	return c
}

func values(secret *api.KVSecret) map[string]string {
	out := map[string]string{}
	for name, value := range secret.Data {
		out[name] = fmt.Sprint(value)
	}
	return out
}

func TestVaultClientKV(t *testing.T) {
	s := newServer(t, nil)
	ctx := t.Context()
	kv := vaultClient(t, s, s.OperatorToken).KVv2("secret")
	for _, path := range []string{s.Org.String(), "acme"} {
		t.Run(path, func(t *testing.T) {
			check := func(want map[string]string, version int) {
				t.Helper()
				got, err := kv.Get(ctx, path)
				if err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(values(got), want) || got.VersionMetadata.Version != version {
					t.Errorf("version %d with %v, want %d with %v", got.VersionMetadata.Version, got.Data, version, want)
				}
			}
			if _, err := kv.Get(ctx, path); !errors.Is(err, api.ErrSecretNotFound) {
				t.Errorf("read of nothing: %v", err)
			}
			if _, err := kv.Patch(ctx, path, map[string]any{"a": "1"}); !errors.Is(err, api.ErrSecretNotFound) {
				t.Errorf("patch of nothing: %v", err)
			}
			w, err := kv.Put(ctx, path, map[string]any{"a": "1", "b": "1"}, api.WithCheckAndSet(0))
			if err != nil {
				t.Fatal(err)
			}
			if w.VersionMetadata.Version != 1 || w.VersionMetadata.CreatedTime.IsZero() || len(w.Raw.Warnings) > 0 {
				t.Errorf("write: %+v, %v", w.VersionMetadata, w.Raw.Warnings)
			}
			var refused *api.ResponseError
			if _, err := kv.Put(ctx, path, map[string]any{"a": "2"}, api.WithCheckAndSet(0)); !errors.As(err, &refused) || refused.StatusCode != 400 {
				t.Errorf("stale check-and-set: %v", err)
			}
			if w, err = kv.Patch(ctx, path, map[string]any{"b": nil, "c": "1"}, api.WithCheckAndSet(1)); err != nil || len(w.Raw.Warnings) > 0 {
				t.Fatalf("patch: %v, %v", err, w)
			}
			check(map[string]string{"a": "1", "c": "1"}, 2)
			if _, err := kv.Patch(ctx, path, map[string]any{"d": "1"}, api.WithMergeMethod(api.KVMergeMethodReadWrite)); err != nil {
				t.Fatal(err)
			}
			check(map[string]string{"a": "1", "c": "1", "d": "1"}, 3)
			if _, err := kv.Rollback(ctx, path, 1); err != nil {
				t.Fatal(err)
			}
			check(map[string]string{"a": "1", "b": "1"}, 4)

			if err := kv.Delete(ctx, path); err != nil {
				t.Fatal(err)
			}
			gone, err := kv.Get(ctx, path)
			if err != nil || gone.Data != nil || gone.VersionMetadata.DeletionTime.IsZero() {
				t.Errorf("deleted: %+v, %v", gone, err)
			}
			if err := kv.Undelete(ctx, path, []int{4}); err != nil {
				t.Fatal(err)
			}
			check(map[string]string{"a": "1", "b": "1"}, 4)
			if err := kv.DeleteVersions(ctx, path, []int{1, 2}); err != nil {
				t.Fatal(err)
			}
			if err := kv.Destroy(ctx, path, []int{3}); err != nil {
				t.Fatal(err)
			}
			versions, err := kv.GetVersionsAsList(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			var states []string
			for _, v := range versions {
				states = append(states, fmt.Sprintf("%d %v %v", v.Version, !v.DeletionTime.IsZero(), v.Destroyed))
			}
			if got := fmt.Sprint(states); got != "[1 true false 2 true false 3 false true 4 false false]" {
				t.Errorf("versions (deleted, destroyed): %s", got)
			}
			if old, err := kv.GetVersion(ctx, path, 3); err != nil || old.Data != nil || !old.VersionMetadata.Destroyed {
				t.Errorf("destroyed: %+v, %v", old, err)
			}
			if _, err := kv.GetVersion(ctx, path, 99); !errors.Is(err, api.ErrSecretNotFound) {
				t.Errorf("a version that never existed: %v", err)
			}

			if err := kv.PutMetadata(ctx, path, api.KVMetadataPutInput{
				MaxVersions: 3, CASRequired: true, DeleteVersionAfter: time.Hour, CustomMetadata: map[string]any{"owner": "ops"},
			}); err != nil {
				t.Fatal(err)
			}
			three := 5
			if err := kv.PatchMetadata(ctx, path, api.KVMetadataPatchInput{MaxVersions: &three, CustomMetadata: map[string]any{"team": "db"}}); err != nil {
				t.Fatal(err)
			}
			m, err := kv.GetMetadata(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(m.MaxVersions, m.CASRequired, m.DeleteVersionAfter, m.CustomMetadata, m.CurrentVersion); got != "5 true 1h0m0s map[owner:ops team:db] 4" {
				t.Errorf("metadata: %s", got)
			}
			if _, err := kv.Put(ctx, path, map[string]any{"a": "3"}); err == nil {
				t.Error("a write without check-and-set succeeded")
			}
			if err := kv.DeleteMetadata(ctx, path); err != nil {
				t.Fatal(err)
			}
			if _, err := kv.GetMetadata(ctx, path); !errors.Is(err, api.ErrSecretNotFound) {
				t.Errorf("metadata of nothing: %v", err)
			}
		})
	}
}

func TestVaultClientSystem(t *testing.T) {
	s := newServer(t, nil)
	c := vaultClient(t, s, s.OperatorToken)
	if health, err := c.Sys().Health(); err != nil || !health.Initialized || health.Sealed || health.Standby || health.Version != "1.2.3" {
		t.Errorf("health: %+v, %v", health, err)
	}
	if seal, err := c.Sys().SealStatus(); err != nil || seal.Sealed || !seal.Initialized {
		t.Errorf("seal status: %+v, %v", seal, err)
	}
	if leader, err := c.Sys().Leader(); err != nil || leader.HAEnabled {
		t.Errorf("leader: %+v, %v", leader, err)
	}
	if mounts, err := c.Sys().ListMounts(); err != nil || mounts["secret/"] == nil || mounts["secret/"].Options["version"] != "2" {
		t.Errorf("mounts: %+v, %v", mounts, err)
	}
	if capable, err := c.Sys().CapabilitiesSelf("secret/data/acme"); err != nil || fmt.Sprint(capable) != "[root]" {
		t.Errorf("capabilities: %v, %v", capable, err)
	}
	if _, err := c.KVv2("secret").Put(t.Context(), "acme", map[string]any{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	if list, err := c.Logical().List("secret/metadata"); err != nil || fmt.Sprint(list.Data["keys"]) != "[acme]" {
		t.Errorf("list: %+v, %v", list, err)
	}
	self, err := c.Auth().Token().LookupSelf()
	if err != nil {
		t.Fatal(err)
	}
	if id, err := self.TokenID(); err != nil || id != s.OperatorToken {
		t.Errorf("own token: %v, %v", id, err)
	}
	if policies, err := self.TokenPolicies(); err != nil || fmt.Sprint(policies) != "[root]" {
		t.Errorf("own policies: %v, %v", policies, err)
	}
	c.SetNamespace("team")
	var refused *api.ResponseError
	if _, err := c.KVv2("secret").Get(t.Context(), "acme"); !errors.As(err, &refused) || refused.StatusCode != 400 {
		t.Errorf("in a namespace: %v", err)
	}
}

// TestVaultClientLogin logs in with a token as an AppRole, and lets the
// client's watcher renew it.
func TestVaultClientLogin(t *testing.T) {
	s := newServer(t, nil)
	c := vaultClient(t, s, "")
	parent := s.writerToken(t)
	login, err := c.Logical().Write("auth/approle/login", map[string]any{"role_id": parent.ID.String(), "secret_id": parent.Value})
	if err != nil {
		t.Fatal(err)
	}
	if login.Auth == nil || !login.Auth.Renewable || login.Auth.LeaseDuration != 3600 {
		t.Fatalf("login: %+v", login.Auth)
	}
	c.SetToken(login.Auth.ClientToken)
	kv := c.KVv2("secret")
	if _, err := kv.Put(t.Context(), "acme", map[string]any{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(50 * time.Minute)
	watcher, err := c.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: login})
	if err != nil {
		t.Fatal(err)
	}
	go watcher.Start()
	defer watcher.Stop()
	select {
	case renewed := <-watcher.RenewCh():
		if renewed.Secret.Auth.ClientToken != login.Auth.ClientToken || renewed.Secret.Auth.LeaseDuration != 3600 {
			t.Errorf("renewed: %+v", renewed.Secret.Auth)
		}
	case err := <-watcher.DoneCh():
		t.Fatalf("the watcher ended: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("nothing was renewed")
	}
	s.Clock.Advance(50 * time.Minute)
	if got, err := kv.Get(t.Context(), "acme"); err != nil || got.Data["a"] != "1" {
		t.Errorf("after the first hour: %+v, %v", got, err)
	}
	if err := c.Auth().Token().RevokeSelf(""); err != nil {
		t.Fatal(err)
	}
	var refused *api.ResponseError
	if _, err := kv.Get(t.Context(), "acme"); !errors.As(err, &refused) || refused.StatusCode != 403 {
		t.Errorf("once revoked: %v", err)
	}
}
