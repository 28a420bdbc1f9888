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

// Why a record is not taken. The texts hold nothing of the record, and
// neither may what is wrapped: encoding/json quotes what it can't read.
var (
	errKey        = errors.New("its key is no ID")
	errRecord     = errors.New("its record is damaged")
	errOtherID    = errors.New("its record has another ID than its key")
	errPassword   = errors.New("its password hash is not bcrypt's, or costs more time than InfluxDB's")
	errSecret     = errors.New("its value is damaged")
	errNoToken    = errors.New("it has no token")
	errIndex      = errors.New("its token is not in InfluxDB's index, so that InfluxDB does not take it either")
	errPermission = errors.New("damaged or of a kind that is not known here")
	errHash       = errors.New("its token is hashed in a way that is not known here")
	errMismatch   = errors.New("its token and the hash of it don't fit")
)

// maxCost is the highest bcrypt cost that is believed: what InfluxDB uses. Each
// step doubles the time that a sign-in takes.
const maxCost = bcrypt.DefaultCost

// idLength is the length of an ID in a key: 16 hexadecimal digits.
const idLength = 16

// recordID reads an ID that is all or the beginning of a key.
func recordID(key []byte) (acl.ID, error) {
	id, err := acl.ParseID(string(key))
	if err != nil {
		return 0, errKey
	}
	return id, nil
}

// unmarshal reads a record. What is not UTF-8 is refused, since encoding/json
// would put something else in its place.
func unmarshal(value []byte, into any) error {
	if !utf8.Valid(value) || json.Unmarshal(value, into) != nil {
		return errRecord
	}
	return nil
}

// times are on most records.
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

// active reads a status. InfluxDB takes one that is empty for active; but it
// always writes the field, so without it the record is damaged.
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

// mapping says what a user is to a resource, not only to an organization.
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

// decodeToken returns a token and, for each of its permissions that can't be
// taken, why.
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

// decodePermission is strict, since of a field that is not known nobody can
// say what it leaves out: with a damaged "orgID", a permission for one
// organization would look like one for all.
func decodePermission(raw json.RawMessage) (acl.Permission, error) {
	var r struct {
		Action   acl.Action `json:"action"`
		Resource struct {
			Type acl.Type `json:"type"`
			ID   *acl.ID  `json:"id"`
			Org  *acl.ID  `json:"orgID"`
			// In InfluxDB's answers these are beside the IDs, as their names.
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

// decodeTokenValue returns the token or its hash. InfluxDB keeps the one or
// the other; with both, the token is enough.
func decodeTokenValue(value, hash string) (token, phc string, err error) {
	if hash != "" && !validHash(hash) {
		return "", "", errHash
	}
	switch {
	case value == "" && (hash == "" || hashes("", hash)):
		return "", "", errNoToken
	case value == "":
		return "", hash, nil
	case hash != "" && !hashes(value, hash):
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

// hashes reports whether phc is the hash of a token.
func hashes(value, phc string) bool {
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
	// InfluxDB takes values from JSON alone, which is UTF-8.
	if err != nil || !utf8.Valid(plain) || bytes.ContainsAny(value, "\r\n") {
		return org, name, "", errSecret
	}
	return org, name, string(plain), nil
}
