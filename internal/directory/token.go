package directory

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/errcode"
	"github.com/fluxkeep/fluxkeep/internal/record"
)

// Token is an API token (an authorization in InfluxDB). Its slices are shared and
// must not be modified.
type Token struct {
	ID          ID
	Org         ID
	OrgName     string // see Describe
	User        ID
	UserName    string // see Describe
	Active      bool
	Description string
	Permissions acl.Set
	Created     time.Time
	Updated     time.Time
	Expires     time.Time // zero: never
	Names       []string  // patterns of the names it is limited to; none: all
	Parent      ID        // for a login token, the token it was made with; else zero
	// Wall is the system clock when a login token was created or renewed.
	Wall time.Time
	// Fixed means that a login token can't be renewed.
	Fixed bool
	// Value is the token itself. It is set only in the response to its creation:
	// only a keyed hash of it is stored.
	Value string
}

// Expired reports whether the token has expired.
func (t *Token) Expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// IsTokenValue reports whether a request can present the value as a token. An
// empty value is never a token, even if its hash is stored.
func IsTokenValue(value string) bool {
	return value != "" && strings.TrimSpace(value) == value && !strings.ContainsFunc(value, unicode.IsControl)
}

// NewTokenValue returns 64 random bytes in InfluxDB's form.
func NewTokenValue() string {
	b := make([]byte, 64)
	rand.Read(b) // never fails, see crypto/rand
	return base64.URLEncoding.EncodeToString(b)
}

// If InfluxDB hashes its tokens, it stores "$influxdb2-sha256$…" or sha512: the
// token's hash in base64 (see its pkg/crypt/algorithm/influxdb2). A token imported
// from there is known only by that text. A presented token is hashed in the same
// way and looked up by a keyed hash with a separate purpose, so that the text that
// InfluxDB stores doesn't work as a token.
const influxToken = "influxdb-token"

// influxForms returns the forms in which InfluxDB stores a token's hash.
func influxForms(value string) []string {
	short, long := sha256.Sum256([]byte(value)), sha512.Sum512([]byte(value))
	return []string{
		"$influxdb2-sha256$" + base64.URLEncoding.EncodeToString(short[:]),
		"$influxdb2-sha512$" + base64.URLEncoding.EncodeToString(long[:]),
	}
}

// influxHashes returns the keyed hashes of the forms in which InfluxDB stores a
// token.
func influxHashes(db *record.DB, value string) []Hash {
	forms := influxForms(value)
	return []Hash{db.Hash(influxToken, forms[0]), db.Hash(influxToken, forms[1])}
}

func tokenHash(db *record.DB, value string) Hash { return db.Hash("token", value) }

// IsEmptyToken reports whether an imported token has no value, or InfluxDB's hash
// of an empty one: it would authenticate every request without credentials.
func IsEmptyToken(value, stored string) bool {
	return value == "" && (stored == "" || slices.Contains(influxForms(""), stored))
}

// ImportedHashes returns the keyed hash under which an imported token is stored,
// followed by those that identify it when InfluxDB stores it in another form.
// stored is InfluxDB's hash of a token whose value is unknown.
func (d Reader) ImportedHashes(value, stored string) []Hash {
	if value == "" {
		return []Hash{d.r.Hash(influxToken, stored)}
	}
	return append([]Hash{tokenHash(d.r.DB(), value)}, influxHashes(d.r.DB(), value)...)
}

func (r *tokenRecord) token(id ID) Token {
	return Token{
		ID: id, Org: r.Org, User: r.User, Active: !r.Inactive, Description: r.Description, Permissions: acl.Set(r.Permissions),
		Created: r.Created, Updated: r.Updated, Expires: r.Expires, Names: r.Names, Parent: r.Parent, Wall: r.Wall, Fixed: r.Fixed,
	}
}

// token returns a token's record, or ErrTokenNotFound.
func (d Reader) token(id ID) (*tokenRecord, error) {
	r, err := record.Load[tokenRecord](d.r, record.Key(record.TableToken, id))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, ErrTokenNotFound
	}
	return r, d.checkToken(id, r)
}

// checkToken checks a token's record against its lookup entry.
func (d Reader) checkToken(id ID, r *tokenRecord) error {
	return d.checkEntry(record.TableTokenHash, r.Hash, id, r.Revision)
}

// scanTokens calls fn with each token's record, before checkToken. It skips
// damaged tokens, including those for which fn returns a DamageError.
func (d Reader) scanTokens(fn func(id ID, r *tokenRecord) error) error {
	return d.r.ScanPrefix(record.Key(record.TableToken), func(k, sealed []byte) (bool, error) {
		id, err := record.IDAt(k, 1)
		if err != nil {
			return false, err
		}
		r, err := record.Decode[tokenRecord](d.r, k, sealed)
		if err == nil {
			err = fn(id, r)
		}
		return true, d.SkipDamaged(err)
	})
}

// Token returns a token, or ErrTokenNotFound.
func (d Reader) Token(id ID) (Token, error) {
	r, err := d.token(id)
	if err != nil {
		return Token{}, err
	}
	return r.token(id), nil
}

// ListedToken is Token for lists, which exclude login tokens.
func (d Reader) ListedToken(id ID) (Token, error) {
	t, err := d.Token(id)
	if err == nil && t.Parent != 0 {
		return Token{}, ErrTokenNotFound
	}
	return t, err
}

// EachTokenID calls fn with the ID of each token, including login tokens, in
// order.
func (d Reader) EachTokenID(fn func(ID) error) error { return d.r.ScanIDs(record.TableToken, fn) }

// EachToken calls fn with each token, including login tokens, in the order of
// their IDs. It skips damaged tokens, including those for which fn returns a
// DamageError.
func (d Reader) EachToken(fn func(Token) error) error {
	return d.scanTokens(func(id ID, r *tokenRecord) error {
		if err := d.checkToken(id, r); err != nil {
			return err
		}
		return fn(r.token(id))
	})
}

// TokenByHash returns the token with a hash, 0 if there is none.
func (d Reader) TokenByHash(h Hash) (ID, error) {
	return d.idOf(record.TableTokenHash, h)
}

// TokenHashed reports whether a token has one of the hashes.
func (d Reader) TokenHashed(id ID, hashes []Hash) (bool, error) {
	r, err := d.token(id)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(hashes, func(h Hash) bool { return h == r.Hash || slices.Contains(r.Imported, h) }), nil
}

// tokenByValue returns the token with a value, or ErrUnauthenticated.
func (d Reader) tokenByValue(value string) (Token, error) {
	if !IsTokenValue(value) {
		return Token{}, ErrUnauthenticated
	}
	id, err := d.TokenByHash(tokenHash(d.r.DB(), value))
	if err == nil && id == 0 {
		for _, h := range influxHashes(d.r.DB(), value) {
			if id, err = d.TokenByHash(h); err != nil || id != 0 {
				break
			}
		}
	}
	if err != nil {
		return Token{}, err
	}
	if id == 0 {
		return Token{}, ErrUnauthenticated
	}
	return d.Token(id)
}

// Describe adds the names of the organization and the user. As in InfluxDB, it
// fails if one of them was deleted.
func (d Reader) Describe(t Token) (Token, error) {
	org, err := d.Organization(t.Org)
	if err != nil {
		return Token{}, err
	}
	user, err := d.User(t.User)
	if err != nil {
		return Token{}, err
	}
	t.OrgName, t.UserName = org.Name, user.Name
	return t, nil
}

// NewTokenID returns an unused ID. IDs sort in the order of their creation.
func (d Writer) NewTokenID() (ID, error) { return d.w.NewID(record.TableToken) }

// AddToken creates a token that is looked up by its Value.
func (d Writer) AddToken(t Token) error {
	return d.ImportToken(t, []Hash{tokenHash(d.r.DB(), t.Value)})
}

// ImportToken creates a token that is looked up by the first hash, see
// ImportedHashes.
func (d Writer) ImportToken(t Token, hashes []Hash) error {
	if has, err := d.TokenByHash(hashes[0]); err != nil {
		return err
	} else if has != 0 {
		return errcode.Errorf(errcode.Conflict, "token already exists")
	}
	return d.putToken(t, tokenRecord{Hash: hashes[0], Imported: hashes[1:]})
}

// UpdateToken replaces a token, or returns ErrTokenNotFound.
func (d Writer) UpdateToken(t Token) error {
	old, err := d.token(t.ID)
	if err != nil {
		return err
	}
	return d.putToken(t, tokenRecord{Revision: old.Revision + 1, Hash: old.Hash, Imported: old.Imported})
}

// putToken writes a token. r holds the fields that t lacks.
func (d Writer) putToken(t Token, r tokenRecord) error {
	r.Org, r.User, r.Inactive, r.Description = t.Org, t.User, !t.Active, t.Description
	r.Permissions, r.Names, r.Parent = permissions(t.Permissions), t.Names, t.Parent
	r.Created, r.Updated, r.Expires, r.Wall, r.Fixed = t.Created, t.Updated, t.Expires, t.Wall, t.Fixed
	return d.put(record.TableTokenHash, r.Hash, t.ID, r.Revision, r)
}

// DeleteToken removes a token, or returns ErrTokenNotFound. Its login tokens stop
// working.
func (d Writer) DeleteToken(id ID) error {
	r, err := d.token(id)
	if err != nil {
		return err
	}
	return d.delete(record.TableTokenHash, r.Hash, id)
}

// A login token represents the token that it was created with, usually for an hour
// at a time. It always has that token's current permissions and never outlives it.
// A login token can be created with another one, which it depends on in the same
// way: deleting one ends all that were made with it.

// LoginLength is how long a login token is usually valid.
const LoginLength = time.Hour

// maxAncestors limits the tokens that have to be read to authenticate one.
const maxAncestors = 8

// loginExpires returns when a login token for parent expires.
func (d Reader) loginExpires(parent Token, length time.Duration) time.Time {
	end := d.r.Now.Add(length)
	if !parent.Expires.IsZero() && parent.Expires.Before(end) {
		end = parent.Expires
	}
	return end
}

// LoginParent returns the token that a role and a secret identify, or
// ErrUnauthenticated.
func (d Reader) LoginParent(role, secret string) (Token, error) {
	t, err := d.tokenByValue(secret)
	if err != nil {
		return Token{}, err
	}
	if t.Parent != 0 || t.ID.String() != role || !t.Active || t.Expired(d.r.Now) {
		return Token{}, ErrUnauthenticated
	}
	if _, err := d.activeUser(t.User); err != nil {
		if errors.Is(err, ErrUserInactive) {
			err = ErrUnauthenticated
		}
		return Token{}, err
	}
	return t, nil
}

// NewLogin describes a login token to create. Its length is a wish: it never
// outlives the parent.
type NewLogin struct {
	ID          ID
	Value       string
	Length      time.Duration
	Fixed       bool
	Description string
	Wall        time.Time
}

// AddLogin creates a login token for parent. top is the token that it represents.
func (d Writer) AddLogin(parent Token, n NewLogin) (t Token, top ID, err error) {
	t = Token{
		ID: n.ID, Org: parent.Org, User: parent.User, Active: true, Parent: parent.ID, Value: n.Value, Description: n.Description,
		Created: d.r.Now, Updated: d.r.Now, Expires: d.loginExpires(parent, n.Length), Wall: n.Wall, Fixed: n.Fixed,
	}
	ancestors, err := d.Ancestors(t)
	if err != nil {
		return Token{}, 0, err
	}
	if len(ancestors) >= maxAncestors {
		return Token{}, 0, errcode.Errorf(errcode.Invalid, "login tokens can't be nested any deeper: at most %d tokens depend on each other", maxAncestors)
	}
	return t, ancestors[len(ancestors)-1].ID, d.AddToken(t)
}

// Ancestors returns the tokens that a login token depends on, from its parent to
// the one that is no login token, or ErrTokenNotFound if one is missing. Others
// have none.
func (d Reader) Ancestors(t Token) ([]Token, error) {
	var out []Token
	for t.Parent != 0 {
		if len(out) > maxAncestors { // can't happen
			return nil, ErrTokenNotFound
		}
		parent, err := d.Token(t.Parent)
		if err != nil {
			return nil, err
		}
		out, t = append(out, parent), parent
	}
	return out, nil
}

// RenewLogin gives a login token another hour, unless it has more.
func (d Writer) RenewLogin(id ID, wall time.Time) (Token, error) {
	t, err := d.Token(id)
	if err != nil {
		return Token{}, err
	}
	if t.Parent == 0 || t.Fixed {
		return Token{}, errcode.Errorf(errcode.Invalid, "lease is not renewable") // Vault's wording
	}
	parent, err := d.Token(t.Parent)
	if err != nil {
		return Token{}, err
	}
	if expires := d.loginExpires(parent, LoginLength); expires.After(t.Expires) {
		t.Expires = expires
	}
	t.Updated, t.Wall = d.r.Now, wall
	return t, d.UpdateToken(t)
}
