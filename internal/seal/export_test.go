package seal

import "encoding/json"

// KeysFromPayload makes Keys of a keyset in clear, as it stands inside a document.
func KeysFromPayload(clearText []byte) (*Keys, error) {
	s, err := decodeKeyset(clearText)
	if err != nil {
		return nil, err
	}
	return s.keys()
}

// DataKeys returns Tink's binary keyset of the data keys, in clear.
func (k *Keys) DataKeys() ([]byte, error) { return encodeHandle(k.set.data) }

// LookupKey returns Tink's binary keyset of the lookup key, in clear.
func (k *Keys) LookupKey() ([]byte, error) { return encodeHandle(k.set.lookup) }

// Payload returns the keyset in clear, as it would stand inside a document.
func (k *Keys) Payload() ([]byte, error) { return k.set.encode() }

// Rechecksum gives a changed document the checksum that fits, as someone with intent would.
func Rechecksum(b []byte) ([]byte, error) {
	d := new(document)
	if err := json.Unmarshal(b, d); err != nil {
		return nil, err
	}
	return d.encode()
}

// ParseKeyFile and KeyLine are the two directions of the key file's line.
func ParseKeyFile(text []byte) ([]byte, error) { return parseKeyFile(text) }

func KeyLine(master []byte) string { return keyLine(master) }
