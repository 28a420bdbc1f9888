package vaultkv

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
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
	role, err := f.text("role_id")
	if err != nil {
		return err
	}
	secret, err := f.text("secret_id")
	if err != nil {
		return err
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
	return c.respondAuth(l, l.Value, []string{"default"}, warnUnknown(f, "role_id", "secret_id"))
}

// renewSelf extends a login token. In Vault, too, an increment is only a wish,
// and every caller gets the same hour.
func (c *call) renewSelf() error {
	f, err := c.fields()
	if err != nil {
		return err
	}
	if _, err := f.duration("increment"); err != nil {
		return err
	}
	l, err := c.keep.RenewLogin(c.r.Context(), c.caller)
	if err != nil {
		return err
	}
	return c.respondAuth(l, c.token, []string{"default"}, warnUnknown(f, "increment", "token"))
}

// respondAuth sends a login token to the client.
func (c *call) respondAuth(l keep.Login, token string, policies, warnings []string) error {
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
		ClientToken: token, Accessor: l.ID.String(), Policies: policies, TokenPolicies: policies,
		LeaseDuration: seconds(l.Length), Renewable: l.Renewable, TokenType: "service",
	})
	if err != nil {
		return err
	}
	return c.envelope(http.StatusOK, warnings, string(auth), func(b []byte, _ httpapi.Sender) []byte { return appendNull(b) })
}

// createToken creates a child of the caller's token, which has the same rights.
// Parameters that ask for less than that, or for more, are refused: a client that
// gets another token than it asked for might pass it on.
func (c *call) createToken() error {
	f, err := c.fields()
	if err != nil {
		return err
	}
	child, err := f.child(c.policies())
	if err != nil {
		return err
	}
	l, err := c.keep.CreateChild(c.r.Context(), c.caller, child)
	if err != nil {
		return err
	}
	warnings := warnUnknown(f, childParameters...)
	if short := child.Length - l.Length; child.Length > 0 && short >= time.Second {
		warnings = append(warnings, fmt.Sprintf("TTL of %q exceeded the effective max_ttl of %q; TTL value is capped accordingly", child.Length, l.Length))
	}
	return c.respondAuth(l, l.Value, c.policies(), warnings)
}

var childParameters = []string{
	"ttl", "lease", "explicit_max_ttl", "renewable", "display_name", "policies", "type", "no_parent", "no_default_policy", "num_uses", "period", "entity_alias", "id",
}

// child reads the body of a request for a token.
func (f fields) child(policies []string) (keep.Child, error) {
	child := keep.Child{Description: "token"}
	var err error
	if child.Length, child.Fixed, err = f.lifetime(); err != nil {
		return child, err
	}
	if err := f.refuseChild(policies); err != nil {
		return child, err
	}
	name, err := f.text("display_name")
	if name != "" {
		child.Description = "token-" + name
	}
	return child, err
}

// lifetime reads how long a token lives, 0 for the default, and whether it can't be
// renewed.
func (f fields) lifetime() (length time.Duration, fixed bool, err error) {
	length, err = f.duration("ttl")
	if err == nil && length == 0 {
		length, err = f.duration("lease")
	}
	if err != nil {
		return 0, false, err
	}
	most, err := f.duration("explicit_max_ttl")
	if err != nil {
		return 0, false, err
	}
	if most > 0 && (length == 0 || length > most) {
		length = most
	}
	renewable, err := f.flag("renewable", true)
	return length, most > 0 || !renewable, err
}

// refuseChild refuses a request for a token of a kind that doesn't exist here.
func (f fields) refuseChild(policies []string) error {
	if period, err := f.duration("period"); err != nil || period != 0 {
		return cmp.Or(err, invalid("root or sudo privileges required to create periodic token"))
	}
	for _, refused := range []struct{ name, because string }{
		{"no_parent", "root or sudo privileges required to create orphan token"},
		{"no_default_policy", "a token without the default policy is not supported"},
	} {
		if on, err := f.flag(refused.name, false); err != nil || on {
			return cmp.Or(err, invalid(refused.because))
		}
	}
	for name, accepted := range map[string][]string{"type": {"", "default", "service"}, "entity_alias": {""}, "id": {""}} {
		text, err := f.text(name)
		if err != nil {
			return err
		}
		if !slices.Contains(accepted, text) {
			return invalid(fmt.Sprintf("this %s is not supported", name))
		}
	}
	if raw, ok := f["num_uses"]; ok {
		if n, err := parseInt(raw); err != nil {
			return wrongField("num_uses", err)
		} else if n != 0 {
			return invalid("a limited number of uses is not supported")
		}
	}
	if raw, ok := f["policies"]; ok && !isNull(raw) {
		var wanted []string
		if json.Unmarshal(raw, &wanted) != nil {
			return wrongField("policies", "a list is wanted")
		}
		slices.Sort(wanted)
		if wanted = slices.Compact(wanted); len(wanted) > 0 && !slices.Equal(wanted, policies) {
			return invalid("child policies must be those of the parent")
		}
	}
	return nil
}

// duration reads a duration, 0 if it is absent.
func (f fields) duration(name string) (time.Duration, error) {
	raw, ok := f[name]
	if !ok {
		return 0, nil
	}
	d, err := parseDuration(raw)
	if err != nil {
		return 0, wrongField(name, err)
	}
	return *d, nil
}

// flag reads a boolean, which has another value if it is absent or null.
func (f fields) flag(name string, otherwise bool) (bool, error) {
	raw, ok := f[name]
	if !ok || isNull(raw) {
		return otherwise, nil
	}
	on, err := parseBool(raw)
	if err != nil {
		return false, wrongField(name, err)
	}
	return *on, nil
}

// text reads a string field, "" if it is absent or null.
func (f fields) text(name string) (text string, err error) {
	if raw, ok := f[name]; ok && json.Unmarshal(raw, &text) != nil {
		err = wrongField(name, "a string is wanted")
	}
	return text, err
}

// policies names the caller's rights in Vault's terms.
func (c *call) policies() []string {
	if c.caller.Operator() {
		return []string{"root"}
	}
	return []string{"default"}
}

func (c *call) lookupSelf() error {
	if _, err := c.fields(); err != nil {
		return err
	}
	t, err := c.keep.TokenSelf(c.r.Context(), c.caller)
	if err != nil {
		return err
	}
	return c.respondToken(t, c.token)
}

// lookup describes the token in the body, by default the caller's.
func (c *call) lookup() error {
	f, err := c.fields()
	if err != nil {
		return err
	}
	value, err := f.text("token")
	if err != nil {
		return err
	}
	value = cmp.Or(value, c.token)
	t, err := c.keep.TokenByValue(c.r.Context(), c.caller, value)
	if errors.Is(err, keep.ErrTokenNotFound) {
		return &statusError{http.StatusForbidden, "bad token"}
	}
	if err != nil {
		return err
	}
	return c.respondToken(t, value, warnUnknown(f, "token")...)
}

// lookupAccessor describes the token with an ID, without the token itself.
func (c *call) lookupAccessor() error {
	f, err := c.fields()
	if err != nil {
		return err
	}
	accessor, err := f.text("accessor")
	if err != nil {
		return err
	}
	if accessor == "" {
		return invalid("missing accessor")
	}
	id, err := acl.ParseID(accessor)
	if err != nil {
		id = 0 // of no token
	}
	t, err := c.keep.TokenByID(c.r.Context(), c.caller, id)
	if errors.Is(err, keep.ErrTokenNotFound) {
		return &statusError{http.StatusForbidden, "invalid accessor"}
	}
	if err != nil {
		return err
	}
	return c.respondToken(t, "", warnUnknown(f, "accessor")...)
}

// respondToken describes a token to the client.
func (c *call) respondToken(t keep.Token, value string, warnings ...string) error {
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
		Accessor: t.ID.String(), CreationTime: t.Created.Unix(), DisplayName: cmp.Or(t.Description, "token"), ID: value,
		IssueTime: t.Created.UTC().Format(time.RFC3339Nano), Orphan: t.Parent == 0, Path: "auth/token/create",
		Policies: []string{"default"}, Renewable: t.Parent != 0 && !t.Fixed, Type: "service",
	}
	if t.Permissions.AllowsAll(acl.Operator()) && len(t.Names) == 0 {
		data.Policies = []string{"root"}
	}
	if t.Parent != 0 && t.Description == "" { // from a login
		data.DisplayName, data.Path = "approle", "auth/approle/login"
	}
	if !t.Expires.IsZero() {
		data.ExpireTime = new(t.Expires.UTC().Format(time.RFC3339Nano))
		data.CreationTTL = seconds(t.Expires.Sub(t.Updated))
		data.TTL = max(0, seconds(t.Expires.Sub(c.keep.Now())))
	}
	return c.respondJSON(data, warnings...)
}

func (c *call) revokeSelf() error {
	if err := c.keep.RevokeSelf(c.r.Context(), c.caller); err != nil {
		return err
	}
	return c.noContent()
}

// seconds converts a duration to whole seconds, rounded down.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }
