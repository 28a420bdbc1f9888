package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/fluxkeep/fluxkeep/internal/acl"
)

// ID identifies an organization, a user, a token or a map.
type ID = acl.ID

// Hash is a keyed hash for lookups by exact text.
type Hash = [16]byte

// Table is the first byte of a key. The rest has a fixed length and reveals
// nothing: IDs, version numbers, keyed hashes. A record is sealed with its whole
// key as associated data, so a record that was moved to another key doesn't open.
type Table = byte

const (
	TableHead       Table = 'h' // organization
	TableState      Table = 'm' // organization
	TableVersion    Table = 'v' // map, version
	TableChanges    Table = 'c' // map, version, number of the chunk
	TableSecret     Table = 's' // map, hash of the name, version descending
	TableOrg        Table = 'o' // organization
	TableOrgName    Table = 'O' // hash of the name
	TableUser       Table = 'u' // user
	TableUserName   Table = 'U' // hash of the name
	TableToken      Table = 't' // token
	TableTokenHash  Table = 'T' // hash of the token
	TableSession    Table = 'e' // hash of the session's key
	TableSessionOf  Table = 'E' // user, hash of the session's key
	TableMember     Table = 'b' // organization, user
	TableMemberOf   Table = 'B' // user, organization
	TableOutbox     Table = 'a' // audit record; in a shared store, server, audit record
	TableTaken      Table = 'k' // server, audit record: what another server took from its outbox
	TableCheckpoint Table = 'z' // nothing; in a shared store, server
	TableClock      Table = 'l' // nothing; the latest time that was seen
	TableBackup     Table = 'w' // nothing; when the last backup was completed
	TableActivity   Table = 'y' // organization; who read its secrets and used its tokens last
	TableSetUp      Table = 'i' // nothing; keeps setup closed when all users and organizations are deleted
	TableImported   Table = 'p' // hash of the object; what the last import found of it
	TableDirectory  Table = 'd' // nothing: the sums of the directory's records
	TableRoot       Table = 'r' // nothing: the sums of the records that have sums, and of others
)

// TableOf returns the table of a key, 0 for an empty key.
func TableOf(key []byte) Table {
	if len(key) == 0 {
		return 0
	}
	return key[0]
}

// Key returns the key, or the prefix of all keys, for a table and IDs.
func Key(table Table, ids ...ID) []byte {
	k := make([]byte, 1, 1+8*len(ids)+32)
	k[0] = table
	for _, id := range ids {
		k = binary.BigEndian.AppendUint64(k, uint64(id))
	}
	return k
}

// HashKey returns the key of a record that is looked up by a hash.
func HashKey(table Table, h Hash) []byte { return append([]byte{table}, h[:]...) }

// VersionKey returns the key of a version of a map.
func VersionKey(m ID, version uint64) []byte {
	return binary.BigEndian.AppendUint64(Key(TableVersion, m), version)
}

// ChangesPrefix returns the prefix of the keys of all changes of a version.
func ChangesPrefix(m ID, version uint64) []byte {
	return binary.BigEndian.AppendUint64(Key(TableChanges, m), version)
}

// ChangesKey returns the key of one chunk of the changes of a large version.
func ChangesKey(m ID, version uint64, chunk uint32) []byte {
	return binary.BigEndian.AppendUint32(ChangesPrefix(m, version), chunk)
}

// SecretHash returns the hash of a secret's name. It depends on the map, so keys
// don't reveal that two organizations use the same name.
func (db *DB) SecretHash(m ID, name string) Hash {
	b := make([]byte, 0, 64)
	b = append(b, m.Bytes()...)
	b = append(b, name...)
	return db.Keys().Lookup("secret", b)
}

// SecretPrefix returns the prefix of the keys of all records of one name.
func SecretPrefix(m ID, h Hash) []byte { return append(Key(TableSecret, m), h[:]...) }

// SecretKey returns the key of a secret record. Newer versions sort first, so a
// scan from a version starts at the record that was visible then.
func SecretKey(m ID, h Hash, version uint64) []byte {
	return AppendSecretKey(make([]byte, 0, secretKeyLen), m, h, version)
}

// AppendSecretKey appends SecretKey to k.
func AppendSecretKey(k []byte, m ID, h Hash, version uint64) []byte {
	k = binary.BigEndian.AppendUint64(append(k, TableSecret), uint64(m))
	return binary.BigEndian.AppendUint64(append(k, h[:]...), ^version)
}

const secretKeyLen = 1 + 8 + 16 + 8

// ParseSecretKey returns the parts of a SecretKey except the map. ok is false if
// the key has the wrong length.
func ParseSecretKey(k []byte) (h Hash, version uint64, ok bool) {
	if len(k) != secretKeyLen {
		return h, 0, false
	}
	copy(h[:], k[9:25])
	return h, ^binary.BigEndian.Uint64(k[25:]), true
}

// SessionOfKey returns the key of the lookup entry for a user's session.
func SessionOfKey(user ID, h Hash) []byte { return append(Key(TableSessionOf, user), h[:]...) }

// IDAt reads the ID at an offset in a key.
func IDAt(k []byte, offset int) (ID, error) {
	if len(k) < offset+8 {
		return 0, Damaged(k, errors.New("its key is too short"))
	}
	return ID(binary.BigEndian.Uint64(k[offset:])), nil
}

// Describe names a record in messages about damage, by its kind and the IDs in its
// key.
func Describe(k []byte) string {
	id := func(at int) string {
		if len(k) < at+8 {
			return "?"
		}
		return ID(binary.BigEndian.Uint64(k[at:])).String()
	}
	if len(k) == 0 {
		return "a record without key"
	}
	switch TableOf(k) {
	case TableHead:
		return "the version counter of organization " + id(1)
	case TableState:
		return "the version states of organization " + id(1)
	case TableVersion, TableChanges:
		return fmt.Sprintf("version %s of map %s", number(k, 9), id(1))
	case TableSecret:
		if _, v, ok := ParseSecretKey(k); ok {
			return fmt.Sprintf("a secret of map %s, written in version %d", id(1), v)
		}
		return "a secret of map " + id(1)
	case TableOrg:
		return "organization " + id(1)
	case TableOrgName:
		return "an organization's name entry"
	case TableUser:
		return "user " + id(1)
	case TableUserName:
		return "a user's name entry"
	case TableToken:
		return "token " + id(1)
	case TableTokenHash:
		return "a token's lookup entry"
	case TableSession:
		return "a session"
	case TableSessionOf:
		return "a session of user " + id(1)
	case TableMember:
		return fmt.Sprintf("the membership of user %s in organization %s", id(9), id(1))
	case TableMemberOf:
		return fmt.Sprintf("the membership of user %s in organization %s", id(1), id(9))
	case TableOutbox:
		return "an audit record in the store"
	case TableTaken:
		return "a list of audit records that another server took over"
	case TableCheckpoint:
		return "the audit checkpoint"
	case TableClock:
		return "the latest time"
	case TableBackup:
		return "the time of the last backup"
	case TableActivity:
		return "the last reads and uses in organization " + id(1)
	case TableSetUp:
		return "the mark that the server was set up"
	case TableImported:
		return "what an import found of an object"
	case TableDirectory:
		return "the sum record of organizations, users, tokens and sessions"
	case TableRoot:
		return "the sum record of the store"
	case TableKeyset:
		return "the keyset"
	}
	return fmt.Sprintf("a record of unknown table %q", TableOf(k))
}

func number(k []byte, at int) string {
	if len(k) < at+8 {
		return "?"
	}
	return strconv.FormatUint(binary.BigEndian.Uint64(k[at:]), 10)
}
