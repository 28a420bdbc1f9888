package seal

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestEphemeralKey(t *testing.T) {
	m, err := NewEphemeralKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("a secret value "), 5000)} {
		sealed := m.Seal(plain)
		if len(plain) > 16 && bytes.Contains(sealed, plain[:16]) || bytes.Equal(sealed, m.Seal(plain)) {
			t.Fatalf("%d bytes were not sealed", len(plain))
		}
		got, err := m.Open([]byte("before:"), sealed)
		if err != nil || string(got) != "before:"+string(plain) {
			t.Fatalf("opened %d of %d bytes, %v", len(got), len(plain), err)
		}
		for _, at := range []int{0, len(sealed) / 2, len(sealed) - 1} {
			bad := bytes.Clone(sealed)
			bad[at] ^= 1
			if _, err := m.Open(nil, bad); !errors.Is(err, ErrDamaged) {
				t.Errorf("byte %d was changed: %v", at, err)
			}
		}
		if _, err := m.Open(nil, sealed[:len(sealed)-1]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut: %v", err)
		}
	}
	other, _ := NewEphemeralKey()
	if _, err := other.Open(nil, m.Seal([]byte("x"))); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened with another key: %v", err)
	}
	if shown := fmt.Sprintf("%v %+v %#v", m, m, m); shown != "ephemeral key ephemeral key ephemeral key" {
		t.Errorf("shown as %s", shown)
	}
}
