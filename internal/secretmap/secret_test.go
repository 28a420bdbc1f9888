package secretmap

import (
	"bytes"
	"testing"
	"time"
)

// FuzzDecodeSecret checks that decoded records encode to the same bytes.
func FuzzDecodeSecret(f *testing.F) {
	o := newOrigin(time.Unix(1, 2), Author{User: 7, Token: 8, Protocol: "test"}, 300)
	f.Add(encodeSecret(kindValue, o, "name", "value"))
	f.Add(encodeSecret(kindRemoved, newOrigin(time.Unix(1, 2), Author{}, 1), "name", ""))
	f.Add(encodeSecret(kindValue, nil, "name", "value"))
	f.Add(encodeSecret(kindMasked, nil, "", ""))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 5, 'a'})
	f.Add([]byte{0x81, 5, 'a', 'b', 'c', 'd', 'e', 1, 'n'})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSecret(b)
		if err != nil {
			return
		}
		// A varint may be longer than necessary, but Fluxkeep never writes
		// one.
		if again := encodeSecret(s.kind, s.origin, s.name, s.value); len(again) > len(b) || (len(again) == len(b) && !bytes.Equal(again, b)) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, s, again)
		}
		if len(s.origin) > 0 {
			_ = newOrigin(s.origin.time(), s.origin.author(), s.origin.earlier())
		}
	})
}

func TestOrigin(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	for _, a := range []Author{{}, {User: 1, Token: 2, Protocol: "vault"}} {
		o := newOrigin(at, a, 300)
		s, err := decodeSecret(encodeSecret(kindValue, o, "name", "value"))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.origin; !got.time().Equal(at) || got.author() != a || got.earlier() != 300 || s.name != "name" || s.value != "value" {
			t.Errorf("got %s, %+v, %d earlier of %+v", got.time(), got.author(), got.earlier(), s)
		}
	}
}
