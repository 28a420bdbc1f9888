package secretmap

import (
	"bytes"
	"testing"
)

// FuzzDecodeSecret: what is taken encodes to the same bytes.
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
		// A varint can be written longer than it must be; Fluxkeep never does.
		if again := encodeSecret(kind, name, value); len(again) > len(b) || (len(again) == len(b) && !bytes.Equal(again, b)) {
			t.Fatalf("%x is read as %d %q %q, which is %x", b, kind, name, value, again)
		}
	})
}
