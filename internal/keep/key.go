package keep

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// The store's keys begin with a byte for the table. What follows is of fixed
// length and says nothing: IDs, version numbers, keyed hashes. The whole key
// is the associated data under which its value is sealed, so that a value
// that was moved to another key does not open.
const (
	tableHead       = 'h' // organization
	tableState      = 'm' // organization
	tableVersion    = 'v' // map, version
	tableChanges    = 'c' // map, version, number of the chunk
	tableSecret     = 's' // map, hash of the name, version descending
	tableOrg        = 'o' // organization
	tableOrgName    = 'O' // hash of the name
	tableUser       = 'u' // user
	tableUserName   = 'U' // hash of the name
	tableToken      = 't' // token
	tableTokenHash  = 'T' // hash of the token
	tableSession    = 'e' // hash of the session's key
	tableSessionOf  = 'E' // user, hash of the session's key
	tableMember     = 'b' // organization, user
	tableMemberOf   = 'B' // user, organization
	tableOutbox     = 'a' // audit record
	tableCheckpoint = 'z' // nothing
)

// hash is the keyed hash by which something is found by its exact name.
type hash = [16]byte

func key(table byte, ids ...ID) []byte {
	k := make([]byte, 1, 1+8*len(ids)+32)
	k[0] = table
	for _, id := range ids {
		k = binary.BigEndian.AppendUint64(k, uint64(id))
	}
	return k
}

func hashKey(table byte, h hash) []byte { return append([]byte{table}, h[:]...) }

func versionKey(m ID, v uint64) []byte {
	return binary.BigEndian.AppendUint64(key(tableVersion, m), v)
}

func changesKey(m ID, v uint64, chunk uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(key(tableChanges, m), v), chunk)
}

// secretPrefix is what all records of one name begin with.
func secretPrefix(m ID, h hash) []byte { return append(key(tableSecret, m), h[:]...) }

// secretKey puts the newest version first, so that a scan from a version
// finds what was visible then.
func secretKey(m ID, h hash, v uint64) []byte {
	return appendSecretKey(make([]byte, 0, secretKeyLen), m, h, v)
}

func appendSecretKey(k []byte, m ID, h hash, v uint64) []byte {
	k = binary.BigEndian.AppendUint64(append(k, tableSecret), uint64(m))
	return binary.BigEndian.AppendUint64(append(k, h[:]...), ^v)
}

const secretKeyLen = 1 + 8 + 16 + 8

func parseSecretKey(k []byte) (h hash, v uint64, ok bool) {
	if len(k) != secretKeyLen {
		return h, 0, false
	}
	copy(h[:], k[9:25])
	return h, ^binary.BigEndian.Uint64(k[25:]), true
}

// idAt reads the ID at a place in a key.
func idAt(k []byte, at int) (ID, error) {
	if len(k) < at+8 {
		return 0, damaged(describeKey(k), errors.New("its key is too short"))
	}
	return ID(binary.BigEndian.Uint64(k[at:])), nil
}

// describeKey names a record for a message about damage, by what it is and
// the IDs in its key.
func describeKey(k []byte) string {
	id := func(at int) string {
		if len(k) < at+8 {
			return "?"
		}
		return ID(binary.BigEndian.Uint64(k[at:])).String()
	}
	if len(k) == 0 {
		return "a record without key"
	}
	switch k[0] {
	case tableHead:
		return "the version counter of organization " + id(1)
	case tableState:
		return "the version states of organization " + id(1)
	case tableVersion, tableChanges:
		return fmt.Sprintf("version %s of map %s", number(k, 9), id(1))
	case tableSecret:
		if _, v, ok := parseSecretKey(k); ok {
			return fmt.Sprintf("a secret of map %s, written in version %d", id(1), v)
		}
		return "a secret of map " + id(1)
	case tableOrg:
		return "organization " + id(1)
	case tableOrgName:
		return "an organization's name entry"
	case tableUser:
		return "user " + id(1)
	case tableUserName:
		return "a user's name entry"
	case tableToken:
		return "token " + id(1)
	case tableTokenHash:
		return "a token's lookup entry"
	case tableSession:
		return "a session"
	case tableSessionOf:
		return "a session of user " + id(1)
	case tableMember:
		return fmt.Sprintf("the membership of user %s in organization %s", id(9), id(1))
	case tableMemberOf:
		return fmt.Sprintf("the membership of user %s in organization %s", id(1), id(9))
	case tableOutbox:
		return "an audit record in the store"
	case tableCheckpoint:
		return "the audit checkpoint"
	}
	return fmt.Sprintf("a record of unknown table %q", k[0])
}

func number(k []byte, at int) string {
	if len(k) < at+8 {
		return "?"
	}
	return strconv.FormatUint(binary.BigEndian.Uint64(k[at:]), 10)
}
