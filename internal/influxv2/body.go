package influxv2

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

// Limits on a request's body, compressed and decompressed.
const (
	maxSmallBody   = 64 << 10 // from those who may not write anything
	maxBody        = 1 << 20
	maxSecretsBody = 8 << 20
	maxImportBody  = 256 << 20
)

// InfluxDB's prefixes for encoding/json's errors about a body.
const (
	badJSON          = "failed to unmarshal json: "
	badTokenJSON     = "invalid json structure: "
	badPlain         = ""
	badPasswordReset = "error decoding password reset request: "
)

// decode decodes the request's body into v. prefix is the prefix of the error
// if it isn't valid JSON of the right shape.
func (c *call) decode(v any, prefix string) error {
	return c.decodeWith(httpapi.Decode, v, prefix)
}

// decodeKnown is decode for bodies in which an unknown field could be a limit
// that must not be ignored: it is an error.
func (c *call) decodeKnown(v any, prefix string) error {
	return c.decodeWith(httpapi.DecodeKnown, v, prefix)
}

func (c *call) decodeWith(decode func([]byte, any) error, v any, prefix string) error {
	limit := int64(maxBody)
	if !c.caller.Writes() {
		limit = maxSmallBody
	}
	body, err := c.readBody(limit)
	if err != nil {
		return err
	}
	if err := decode(body, v); err != nil {
		return invalid(prefix + describe(err))
	}
	return nil
}

func (c *call) readBody(limit int64) ([]byte, error) {
	if err := c.keep.CheckActive(c.caller); err != nil {
		return nil, err
	}
	body, err := httpapi.ReadBody(c.w, c.r, limit)
	return body, bodyError(err)
}

// bodyError converts an error from reading a body.
func bodyError(err error) error {
	if err == nil || errors.Is(err, httpapi.ErrTooLarge) || errors.Is(err, httpapi.ErrEncoding) || errors.Is(err, httpapi.ErrGzip) || errors.Is(err, httpapi.ErrBusy) {
		return err
	}
	return invalid("the request's body ended too early") // don't reveal the connection's error
}

// describe says what is wrong with a body. encoding/json names Go types in its
// errors; these messages are part of InfluxDB's protocol, so they contain
// InfluxDB's type names.
func describe(err error) string {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err.Error()
	}
	typ, root := influxdbName(e.Type.String()), e.Struct
	if root != "" {
		_, root, _ = strings.Cut(influxdbName("influxv2."+root), ".")
	}
	if root == "" && e.Field == "" {
		return "json: cannot unmarshal " + e.Value + " into Go value of type " + typ
	}
	return "json: cannot unmarshal " + e.Value + " into Go struct field " + root + "." + e.Field + " of type " + typ
}

func influxdbName(name string) string {
	return strings.NewReplacer(
		"influxv2.setupBody", "influxdb.OnboardingRequest",
		"influxv2.organizationBody", "influxdb.Organization",
		"influxv2.organizationUpdateBody", "influxdb.OrganizationUpdate",
		"influxv2.userBody", "influxdb.User",
		"influxv2.userUpdateBody", "influxdb.UserUpdate",
		"influxv2.passwordBody", "tenant.passwordSetRequest",
		"influxv2.passwordResetBody", "tenant.passwordResetRequestBody",
		"influxv2.tokenBody", "authorization.postAuthorizationRequest",
		"influxv2.tokenUpdateBody", "influxdb.AuthorizationUpdate",
		"influxv2.permissionBody", "influxdb.Permission",
		"influxv2.resourceBody", "influxdb.Resource",
		"influxv2.secretsDeleteBody", "secret.secretsDeleteBody",
		"influxv2.status", "influxdb.Status",
		"acl.Action", "influxdb.Action",
		"acl.Type", "influxdb.ResourceType",
		"acl.ID", "platform.ID",
	).Replace(name)
}

// decodeSecrets decodes an object of names and values. The fast path handles
// valid bodies; for others, encoding/json provides the message.
func decodeSecrets(body []byte) (map[string]string, error) {
	secrets := map[string]string{}
	o := newObject(body)
	err := o.each(func(name string, value *string) error {
		if _, twice := secrets[name]; twice || value == nil {
			return errUnusual
		}
		secrets[name] = *value
		return nil
	})
	if err == nil {
		return secrets, nil
	}
	clear(secrets)
	if err := httpapi.Decode(body, &secrets); err != nil {
		return nil, invalid(badJSON + describe(err))
	}
	var values map[string]*string
	if err := json.Unmarshal(body, &values); err != nil {
		return nil, invalid(badJSON + describe(err))
	}
	for _, v := range values {
		if v == nil {
			return nil, invalid("a secret's value must be a string, not null")
		}
	}
	return secrets, nil
}

var errUnusual = errors.New("not an object of strings")

// decodeNames decodes the names of POST secrets/delete.
func decodeNames(body []byte) ([]string, error) {
	var names secretsDeleteBody
	if err := httpapi.Decode(body, &names); err != nil {
		return nil, invalid(badJSON + describe(err))
	}
	if bytes.Contains(body, []byte("null")) {
		var maybe struct {
			Secrets []*string `json:"secrets"`
		}
		if err := json.Unmarshal(body, &maybe); err != nil {
			return nil, invalid(badJSON + describe(err))
		}
		for _, name := range maybe.Secrets {
			if name == nil {
				return nil, invalid("a secret's name must be a string, not null")
			}
		}
	}
	return names.Secrets, nil
}

type secretsDeleteBody struct {
	Secrets []string `json:"secrets"`
}

// status is the status of a user or token.
type status string

const (
	active   status = "active"
	inactive status = "inactive"
)

func statusWord(isActive bool) status {
	if isActive {
		return active
	}
	return inactive
}

func (s status) check() error {
	if s != active && s != inactive {
		return invalid("invalid status: must be active or inactive")
	}
	return nil
}

// isActive returns the status for an update, nil to leave it unchanged.
func (s *status) isActive() *bool {
	if s == nil {
		return nil
	}
	return new(*s == active)
}
