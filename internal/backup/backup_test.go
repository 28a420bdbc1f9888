package backup_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/backup"
)

func mac(key string) hash.Hash { return hmac.New(sha256.New, []byte(key)) }

func archive(t testing.TB, records int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := backup.NewWriter(&b, backup.Header{Created: time.Unix(1, 0).UTC(), Keyset: json.RawMessage(`{"format":1}`)}, mac("key"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if err := w.Add(fmt.Append(nil, "key", i), bytes.Repeat([]byte{byte(i)}, i*i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(data []byte) (records int, err error) {
	return readWith(data, mac("key"))
}

func readWith(data []byte, mac hash.Hash) (records int, err error) {
	err = backup.Read(bytes.NewReader(data), func(backup.Header) (hash.Hash, error) { return mac, nil }, func(_, _ []byte) error { records++; return nil })
	return records, err
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 2, 300} {
		i := 0
		err := backup.Read(bytes.NewReader(archive(t, n)), func(h backup.Header) (hash.Hash, error) {
			if string(h.Keyset) != `{"format":1}` || !h.Created.Equal(time.Unix(1, 0)) || h.Format != backup.Format {
				t.Errorf("header %+v", h)
			}
			return mac("key"), nil
		}, func(key, value []byte) error {
			if string(key) != fmt.Sprint("key", i) || !bytes.Equal(value, bytes.Repeat([]byte{byte(i)}, i*i)) {
				t.Errorf("record %d is %q", i, key)
			}
			i++
			return nil
		})
		if err != nil || i != n {
			t.Errorf("%d records of %d: %v", i, n, err)
		}
	}
}

// TestEveryByteCounts truncates a backup at each place and flips each bit.
func TestEveryByteCounts(t *testing.T) {
	whole := archive(t, 8)
	for n := range whole {
		if _, err := read(whole[:n]); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("truncated after %d of %d bytes: %v", n, len(whole), err)
		}
	}
	for n := range whole {
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[n] ^= 1 << bit
			if _, err := read(bad); err == nil {
				t.Fatalf("flipping bit %d of byte %d was not detected", bit, n)
			}
		}
	}
	if _, err := read(append(bytes.Clone(whole), 0)); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("one byte more: %v", err)
	}
}

// checksummed changes a backup and corrects its checksum.
func checksummed(whole []byte, change func([]byte) []byte) []byte {
	b := change(bytes.Clone(whole[:len(whole)-sha256.Size]))
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// TestAuthenticated checks that nobody can change a backup without the keys,
// even with a correct checksum.
func TestAuthenticated(t *testing.T) {
	whole := archive(t, 8)
	if _, err := readWith(whole, nil); err != nil {
		t.Errorf("without a key: %v", err)
	}
	if _, err := readWith(whole, mac("another")); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("with another key: %v", err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"changed record": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"changed header": func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"format":1`), []byte(`"format":2`), 1)
		},
		"MAC of another backup": func(b []byte) []byte {
			other := archive(t, 9)
			return append(b[:len(b)-sha256.Size], other[len(other)-2*sha256.Size:len(other)-sha256.Size]...)
		},
	} {
		changed := checksummed(whole, change)
		if _, err := readWith(changed, nil); name != "changed record" && err != nil {
			t.Errorf("%s: without a key: %v", name, err)
		}
		if _, err := read(changed); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFormat1 reads a backup without a MAC.
func TestFormat1(t *testing.T) {
	old := checksummed(archive(t, 8), func(b []byte) []byte {
		return bytes.Replace(b[:len(b)-sha256.Size], []byte("backup 2"), []byte("backup 1"), 1)
	})
	if n, err := read(old); n != 8 || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
}

func TestNewerFormat(t *testing.T) {
	newer := strings.Replace(string(archive(t, 1)), fmt.Sprint("backup ", backup.Format), fmt.Sprint("backup ", backup.Format+1), 1)
	if _, err := read([]byte(newer)); !errors.Is(err, backup.ErrNewerFormat) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(archive(f, 0))
	f.Add(archive(f, 5))
	f.Add([]byte("fluxkeep backup 2\n{}\n\x00\x00"))
	f.Add([]byte("fluxkeep backup 1\n{}\n\x00\x00"))
	f.Add([]byte("fluxkeep backup 1\n{}\n\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := read(data)
		if err != nil && !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrNewerFormat) {
			t.Fatal(err)
		}
	})
}
