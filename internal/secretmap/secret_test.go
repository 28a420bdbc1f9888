package secretmap

import (
	"bytes"
	"testing"
)

// FuzzDecodeSecret checks that decoded records encode to the same bytes.
func FuzzDecodeSecret(f *testing.F) {
	f.Add(encodeSecret(kindValue, "name", "value"))
	f.Add(encodeSecret(kindRemoved, "name", ""))
	f.Add(encodeSecret(kindMasked, "", ""))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 5, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, name, value, err := decodeSecret(b)
		if err != nil {
			return
		}
		// A varint may be longer than necessary, but Fluxkeep never writes
		// one.
		if again := encodeSecret(kind, name, value); len(again) > len(b) || (len(again) == len(b) && !bytes.Equal(again, b)) {
			t.Fatalf("%x decodes to %d %q %q, which encodes to %x", b, kind, name, value, again)
		}
	})
}
