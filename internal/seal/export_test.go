package seal

import "encoding/json"

// KeysFromPayload creates Keys from a plain-text keyset, as inside a document.
func KeysFromPayload(clearText []byte) (*Keys, error) {
	s, err := decodeKeyset(clearText)
	if err != nil {
		return nil, err
	}
	return s.keys()
}

// DataKeys returns Tink's binary keyset of the data keys, in plain text.
func (k *Keys) DataKeys() ([]byte, error) { return encodeHandle(k.set.data) }

// LookupKey returns Tink's binary keyset of the lookup key, in plain text.
func (k *Keys) LookupKey() ([]byte, error) { return encodeHandle(k.set.lookup) }

// Payload returns the plain-text keyset, as inside a document.
func (k *Keys) Payload() ([]byte, error) { return k.set.encode() }

// Rechecksum corrects the checksum of a changed document, as an attacker
// would.
func Rechecksum(b []byte) ([]byte, error) {
	d := new(document)
	if err := json.Unmarshal(b, d); err != nil {
		return nil, err
	}
	return d.encode()
}

// ParseKeyFile and KeyLine decode and encode the line of a key file.
func ParseKeyFile(text []byte) ([]byte, error) { return parseKeyFile(text) }

func KeyLine(master []byte) string { return keyLine(master) }
