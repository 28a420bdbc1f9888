package keep

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// An InfluxDB that hashes its tokens keeps "$influxdb2-sha256$…", or sha512:
// the token's hash in base64 (pkg/crypt/algorithm/influxdb2 there). So of a
// token that came from one no more is known. What is sent is then hashed in
// the same way, and found by a keyed hash for this purpose alone: the text
// that InfluxDB keeps is no token.
const influxToken = "influxdb-token"

// influxHashes returns the keyed hashes of the forms in which InfluxDB keeps a
// token.
func influxHashes(db *record.DB, value string) []record.Hash {
	short, long := sha256.Sum256([]byte(value)), sha512.Sum512([]byte(value))
	return []record.Hash{
		db.Hash(influxToken, "$influxdb2-sha256$"+base64.URLEncoding.EncodeToString(short[:])),
		db.Hash(influxToken, "$influxdb2-sha512$"+base64.URLEncoding.EncodeToString(long[:])),
	}
}
