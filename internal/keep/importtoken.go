package keep

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"slices"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// An InfluxDB that hashes its tokens keeps "$influxdb2-sha256$…", or sha512:
// the token's hash in base64 (pkg/crypt/algorithm/influxdb2 there). So of a
// token that came from one no more is known. What is sent is then hashed in
// the same way, and found by a keyed hash for this purpose alone: the text
// that InfluxDB keeps is no token.
const influxToken = "influxdb-token"

// isEmptyToken reports whether there is no token behind an imported one: every
// request without credentials would be its owner's.
func isEmptyToken(t ImportToken) bool {
	return t.Value == "" && (t.Hash == "" || slices.Contains(influxForms(""), t.Hash))
}

// influxForms returns the forms in which InfluxDB keeps a token's hash.
func influxForms(value string) []string {
	short, long := sha256.Sum256([]byte(value)), sha512.Sum512([]byte(value))
	return []string{
		"$influxdb2-sha256$" + base64.URLEncoding.EncodeToString(short[:]),
		"$influxdb2-sha512$" + base64.URLEncoding.EncodeToString(long[:]),
	}
}

// influxHashes returns the keyed hashes of the forms in which InfluxDB keeps a
// token.
func influxHashes(db *record.DB, value string) []record.Hash {
	forms := influxForms(value)
	return []record.Hash{db.Hash(influxToken, forms[0]), db.Hash(influxToken, forms[1])}
}
