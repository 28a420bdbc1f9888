package backup_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/backup"
)

func archive(t testing.TB, records int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := backup.NewWriter(&b, backup.Header{Created: time.Unix(1, 0).UTC(), Keyset: json.RawMessage(`{"format":1}`)})
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
	err = backup.Read(bytes.NewReader(data), func(backup.Header) error { return nil }, func(_, _ []byte) error { records++; return nil })
	return records, err
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 2, 300} {
		i := 0
		err := backup.Read(bytes.NewReader(archive(t, n)), func(h backup.Header) error {
			if string(h.Keyset) != `{"format":1}` || !h.Created.Equal(time.Unix(1, 0)) {
				t.Errorf("header %+v", h)
			}
			return nil
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

// TestEveryByteCounts cuts a backup at each place and flips each bit.
func TestEveryByteCounts(t *testing.T) {
	whole := archive(t, 8)
	for n := range whole {
		if _, err := read(whole[:n]); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(whole), err)
		}
	}
	for n := range whole {
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[n] ^= 1 << bit
			if _, err := read(bad); err == nil {
				t.Fatalf("bit %d of byte %d flipped, and it was not noticed", bit, n)
			}
		}
	}
	if _, err := read(append(bytes.Clone(whole), 0)); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("a byte more: %v", err)
	}
}

func TestNewerFormat(t *testing.T) {
	newer := strings.Replace(string(archive(t, 1)), "backup 1", "backup 2", 1)
	if _, err := read([]byte(newer)); !errors.Is(err, backup.ErrNewerFormat) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(archive(f, 0))
	f.Add(archive(f, 5))
	f.Add([]byte("fluxkeep backup 1\n{}\n\x00\x00"))
	f.Add([]byte("fluxkeep backup 1\n{}\n\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := read(data)
		if err != nil && !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrNewerFormat) {
			t.Fatal(err)
		}
	})
}
