package influxbolt

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"golang.org/x/crypto/bcrypt"
)

// Reasons to skip a record. These texts contain nothing from the record, and
// they must not wrap other errors: encoding/json quotes its input.
var (
	errKey        = errors.New("its key is not an ID")
	errRecord     = errors.New("its record is damaged")
	errOtherID    = errors.New("its record does not have the ID of its key")
	errPassword   = errors.New("its hash is not a bcrypt hash, or has a higher cost than InfluxDB's")
	errSecret     = errors.New("its value is damaged")
	errNoToken    = errors.New("its record has no token")
	errIndex      = errors.New("it is not in InfluxDB's index, so InfluxDB refuses it too")
	errPermission = errors.New("damaged or unknown")
	errHash       = errors.New("it has an unknown kind of hash")
	errMismatch   = errors.New("it does not match its hash")
)

// maxCost is the highest bcrypt cost that is accepted, which is InfluxDB's.
// Each step doubles the time of a sign-in.
const maxCost = bcrypt.DefaultCost

// idLength is the length of an ID in a key: 16 hexadecimal digits.
const idLength = 16

// recordID parses the ID at the start of a key.
func recordID(key []byte) (acl.ID, error) {
	id, err := acl.ParseID(string(key))
	if err != nil {
		return 0, errKey
	}
	return id, nil
}

// unmarshal decodes a record. It refuses invalid UTF-8, which encoding/json
// would replace.
func unmarshal(value []byte, into any) error {
	if !utf8.Valid(value) || json.Unmarshal(value, into) != nil {
		return errRecord
	}
	return nil
}

// times are part of most records.
type times struct {
	Created time.Time `json:"createdAt"`
	Updated time.Time `json:"updatedAt"`
}

func decodeOrganization(key, value []byte) (Organization, error) {
	id, err := recordID(key)
	if err != nil {
		return Organization{}, err
	}
	var r struct {
		times
		ID          acl.ID `json:"id"`
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	switch err := unmarshal(value, &r); {
	case err != nil:
		return Organization{ID: id}, err
	case r.ID != id:
		return Organization{ID: id}, errOtherID
	case r.Name == "":
		return Organization{ID: id}, errRecord
	}
	return Organization{id, r.Name, r.Description, r.Created, r.Updated}, nil
}

// active decodes a status. An empty one means active, as in InfluxDB. InfluxDB
// always writes the field, so a record without it is damaged.
func active(status *string) (bool, error) {
	switch {
	case status == nil:
		return false, errRecord
	case *status == "active" || *status == "":
		return true, nil
	case *status == "inactive":
		return false, nil
	}
	return false, errRecord
}

func decodeUser(key, value []byte) (User, error) {
	id, err := recordID(key)
	if err != nil {
		return User{}, err
	}
	var r struct {
		ID     acl.ID  `json:"id"`
		Name   string  `json:"name"`
		Status *string `json:"status"`
	}
	switch err := unmarshal(value, &r); {
	case err != nil:
		return User{ID: id}, err
	case r.ID != id:
		return User{ID: id}, errOtherID
	case r.Name == "":
		return User{ID: id}, errRecord
	}
	on, err := active(r.Status)
	return User{ID: id, Name: r.Name, Active: on}, err
}

func decodePassword(key, value []byte) (acl.ID, []byte, error) {
	id, err := recordID(key)
	if err != nil {
		return 0, nil, err
	}
	cost, err := bcrypt.Cost(value)
	if err != nil || cost > maxCost || len(value) != 60 {
		return id, nil, errPassword
	}
	return id, bytes.Clone(value), nil
}

// mapping is a user's membership in any resource, not only an organization.
type mapping struct {
	User     acl.ID
	Resource acl.ID
	Type     string // of the resource
	Owner    bool
}

func decodeMapping(key, value []byte) (mapping, error) {
	if len(key) != 2*idLength {
		return mapping{}, errKey
	}
	resource, err := recordID(key[:idLength])
	if err != nil {
		return mapping{}, err
	}
	user, err := recordID(key[idLength:])
	if err != nil {
		return mapping{}, err
	}
	m := mapping{User: user, Resource: resource}
	var r struct {
		User     acl.ID `json:"userID"`
		Resource acl.ID `json:"resourceID"`
		Type     string `json:"resourceType"`
		Role     string `json:"userType"`
		Kind     string `json:"mappingType"`
	}
	switch err := unmarshal(value, &r); {
	case err != nil:
		return m, err
	case r.User != user || r.Resource != resource:
		return m, errOtherID
	case r.Type == "", r.Role != "owner" && r.Role != "member", r.Kind != "user":
		return m, errRecord
	}
	m.Type, m.Owner = r.Type, r.Role == "owner"
	return m, nil
}

// decodeToken returns a token and the reasons why some of its permissions are
// left out.
func decodeToken(key, value []byte) (t Token, unknown []string, err error) {
	if t.ID, err = recordID(key); err != nil {
		return Token{}, nil, err
	}
	var r struct {
		times
		ID           acl.ID            `json:"id"`
		Value        string            `json:"token"`
		Hash         string            `json:"hashedToken"`
		Status       *string           `json:"status"`
		Description  string            `json:"description"`
		Organization acl.ID            `json:"orgID"`
		User         acl.ID            `json:"userID"`
		Permissions  []json.RawMessage `json:"permissions"`
	}
	switch err := unmarshal(value, &r); {
	case err != nil:
		return Token{ID: t.ID}, nil, err
	case r.ID != t.ID:
		return Token{ID: t.ID}, nil, errOtherID
	case r.Organization == 0 || r.User == 0:
		return Token{ID: t.ID}, nil, errRecord
	}
	on, err := active(r.Status)
	if err != nil {
		return Token{ID: t.ID}, nil, err
	}
	for _, raw := range r.Permissions {
		if p, err := decodePermission(raw); err != nil {
			unknown = append(unknown, err.Error())
		} else {
			t.Permissions = append(t.Permissions, p)
		}
	}
	t.Organization, t.User, t.Active, t.Description = r.Organization, r.User, on, r.Description
	t.Created, t.Updated = r.Created, r.Updated
	t.Value, t.Hash, err = decodeTokenValue(r.Value, r.Hash)
	return t, unknown, err
}

// decodePermission refuses unknown fields, because they could be damaged
// restrictions: without its "orgID", a permission for one organization would
// look like one for all.
func decodePermission(raw json.RawMessage) (acl.Permission, error) {
	var r struct {
		Action   acl.Action `json:"action"`
		Resource struct {
			Type acl.Type `json:"type"`
			ID   *acl.ID  `json:"id"`
			Org  *acl.ID  `json:"orgID"`
			// InfluxDB's answers have these names next to the IDs.
			Name    string `json:"name"`
			OrgName string `json:"org"`
		} `json:"resource"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(&r) != nil || r.Resource.Name != "" && r.Resource.ID == nil || r.Resource.OrgName != "" && r.Resource.Org == nil {
		return acl.Permission{}, errPermission
	}
	p := acl.Permission{Action: r.Action, Resource: acl.Resource{Type: r.Resource.Type}}
	if r.Resource.ID != nil {
		p.Resource.ID = *r.Resource.ID
	}
	if r.Resource.Org != nil {
		p.Resource.OrgID = *r.Resource.Org
	}
	switch err := p.Valid(); {
	case errors.Is(err, acl.ErrType):
		return acl.Permission{}, fmt.Errorf("unknown resource type %s", quote(string(p.Resource.Type)))
	case err != nil:
		return acl.Permission{}, errPermission
	}
	return p, nil
}

// decodeTokenValue returns the token or its hash. InfluxDB stores one or the
// other; if there are both, the token is enough.
func decodeTokenValue(value, hash string) (token, phc string, err error) {
	if hash != "" && !validHash(hash) {
		return "", "", errHash
	}
	switch {
	case value == "" && (hash == "" || isHashOf("", hash)):
		return "", "", errNoToken
	case value == "":
		return "", hash, nil
	case hash != "" && !isHashOf(value, hash):
		return "", "", errMismatch
	}
	return value, "", nil
}

const (
	sha256Form = "$influxdb2-sha256$"
	sha512Form = "$influxdb2-sha512$"
)

func validHash(phc string) bool {
	for form, size := range map[string]int{sha256Form: sha256.Size, sha512Form: sha512.Size} {
		if digits, ok := strings.CutPrefix(phc, form); ok {
			sum, err := base64.URLEncoding.Strict().DecodeString(digits)
			return err == nil && len(sum) == size
		}
	}
	return false
}

// isHashOf reports whether phc is the hash of a token.
func isHashOf(value, phc string) bool {
	short, long := sha256.Sum256([]byte(value)), sha512.Sum512([]byte(value))
	return phc == sha256Form+base64.URLEncoding.EncodeToString(short[:]) ||
		phc == sha512Form+base64.URLEncoding.EncodeToString(long[:])
}

func decodeSecret(key, value []byte) (org acl.ID, name, secret string, err error) {
	if len(key) < idLength {
		return 0, "", "", errKey
	}
	if org, err = recordID(key[:idLength]); err != nil {
		return 0, "", "", err
	}
	name = string(key[idLength:])
	plain, err := base64.StdEncoding.Strict().DecodeString(string(value))
	// InfluxDB takes values from JSON only, which is UTF-8.
	if err != nil || !utf8.Valid(plain) || bytes.ContainsAny(value, "\r\n") {
		return org, name, "", errSecret
	}
	return org, name, string(plain), nil
}
