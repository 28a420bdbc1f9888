package vaultkv

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// login creates a login token, like Vault's AppRole: role_id is a token's ID,
// and secret_id the token.
func (c *call) login() error {
	f, err := c.fields()
	if err != nil {
		return err
	}
	var role, secret string
	for _, field := range []struct {
		name string
		to   *string
	}{{"role_id", &role}, {"secret_id", &secret}} {
		if raw, ok := f[field.name]; ok && json.Unmarshal(raw, field.to) != nil {
			return invalid(`error converting input for field "` + field.name + `": a string is wanted`)
		}
	}
	switch {
	case role == "":
		return invalid("missing role_id")
	case secret == "":
		return invalid("missing secret_id")
	}
	l, err := c.keep.Login(c.r.Context(), keep.Anonymous(c.origin), role, secret)
	if errors.Is(err, keep.ErrUnauthenticated) {
		return invalid("invalid role or secret ID")
	}
	if err != nil {
		return err
	}
	return c.respondAuth(l, l.Value, warnUnknown(f, "role_id", "secret_id"))
}

// renewSelf extends a login token. In Vault, too, an increment is only a wish,
// and every caller gets the same hour.
func (c *call) renewSelf() error {
	f, err := c.fields()
	if err != nil {
		return err
	}
	if raw, ok := f["increment"]; ok {
		if _, err := parseDuration(raw); err != nil {
			return invalid(`error converting input for field "increment": ` + err.Error())
		}
	}
	l, err := c.keep.RenewLogin(c.r.Context(), c.caller)
	if err != nil {
		return err
	}
	return c.respondAuth(l, c.token, warnUnknown(f, "increment", "token"))
}

// respondAuth sends a login token to the client.
func (c *call) respondAuth(l keep.Login, token string, warnings []string) error {
	auth, err := json.Marshal(struct {
		ClientToken    string            `json:"client_token"`
		Accessor       string            `json:"accessor"`
		Policies       []string          `json:"policies"`
		TokenPolicies  []string          `json:"token_policies"`
		Metadata       map[string]string `json:"metadata"`
		LeaseDuration  int64             `json:"lease_duration"`
		Renewable      bool              `json:"renewable"`
		EntityID       string            `json:"entity_id"`
		TokenType      string            `json:"token_type"`
		Orphan         bool              `json:"orphan"`
		MFARequirement any               `json:"mfa_requirement"`
		NumUses        int               `json:"num_uses"`
	}{
		ClientToken: token, Accessor: l.ID.String(), Policies: []string{"default"}, TokenPolicies: []string{"default"},
		LeaseDuration: seconds(l.Length), Renewable: true, TokenType: "service",
	})
	if err != nil {
		return err
	}
	return c.envelope(http.StatusOK, warnings, string(auth), func(b []byte, _ httpapi.Sender) []byte { return appendNull(b) })
}

func (c *call) lookupSelf() error {
	if _, err := c.fields(); err != nil {
		return err
	}
	t, err := c.keep.TokenSelf(c.r.Context(), c.caller)
	if err != nil {
		return err
	}
	data := struct {
		Accessor       string   `json:"accessor"`
		CreationTime   int64    `json:"creation_time"`
		CreationTTL    int64    `json:"creation_ttl"`
		DisplayName    string   `json:"display_name"`
		EntityID       string   `json:"entity_id"`
		ExpireTime     *string  `json:"expire_time"`
		ExplicitMaxTTL int      `json:"explicit_max_ttl"`
		ID             string   `json:"id"`
		IssueTime      string   `json:"issue_time"`
		Meta           any      `json:"meta"`
		NumUses        int      `json:"num_uses"`
		Orphan         bool     `json:"orphan"`
		Path           string   `json:"path"`
		Policies       []string `json:"policies"`
		Renewable      bool     `json:"renewable"`
		TTL            int64    `json:"ttl"`
		Type           string   `json:"type"`
	}{
		Accessor: t.ID.String(), CreationTime: t.Created.Unix(), DisplayName: t.Description, ID: c.token,
		IssueTime: t.Created.UTC().Format(time.RFC3339Nano), Orphan: true, Path: "auth/token/create",
		Policies: []string{"default"}, Renewable: c.caller.Renewable(), Type: "service",
	}
	if data.DisplayName == "" {
		data.DisplayName = "token"
	}
	if c.caller.Operator() {
		data.Policies = []string{"root"}
	}
	if c.caller.Renewable() { // a login token
		data.DisplayName, data.Path, data.Orphan = "approle", "auth/approle/login", false
	}
	if !t.Expires.IsZero() {
		ends := t.Expires.UTC().Format(time.RFC3339Nano)
		data.ExpireTime = &ends
		data.CreationTTL = seconds(t.Expires.Sub(t.Updated))
		data.TTL = max(0, seconds(t.Expires.Sub(c.keep.Now())))
	}
	return c.respondJSON(data)
}

func (c *call) revokeSelf() error {
	if err := c.keep.RevokeSelf(c.r.Context(), c.caller); err != nil {
		return err
	}
	return c.noContent()
}

// seconds converts a duration to whole seconds, rounded down.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }
