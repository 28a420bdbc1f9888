package influxbolt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// checkDamaged reads a file that was changed. Reading must either return an
// error that says so, or contents in which at most one record differs from the
// original and each missing one is reported; or it must report that the
// contents are older, or that pages are missing. No report may contain a
// value.
func checkDamaged(t *testing.T, path, what string, whole map[string]string, secret []string) (refused bool) {
	t.Helper()
	c, err := Read(path)
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) {
			t.Fatalf("%s: %v", what, err)
		}
		checkTold(t, what, []string{err.Error()}, secret)
		return true
	}
	checkTold(t, what, c.Skipped, secret)
	if slices.ContainsFunc(c.Skipped, func(line string) bool {
		return line == skippedChange || strings.HasPrefix(line, "the file has no bucket ") || strings.Contains(line, "cannot be reached")
	}) {
		return false
	}
	got := objects(c)
	missing, other, added := 0, 0, 0
	for name, is := range whole {
		if now, ok := got[name]; !ok {
			missing++
		} else if now != is {
			other++
		}
	}
	added = len(got) - len(whole) + missing
	// A damaged key changes an object's identity.
	if other+added > 1 || missing-added > len(c.Skipped) {
		t.Fatalf("%s: %d missing, %d other, %d added, reported %q", what, missing, other, added, c.Skipped)
	}
	return false
}

func checkTold(t *testing.T, what string, told, secret []string) {
	t.Helper()
	for _, line := range told {
		for _, s := range secret {
			if strings.Contains(line, s) {
				t.Fatalf("%s: %q contains a secret", what, line)
			}
		}
	}
}

// TestFlippedBytes flips single bits throughout the files.
func TestFlippedBytes(t *testing.T) {
	head, step := 96, 97 // all of a page's first bytes, and every 97th of the others
	if testing.Short() {
		head, step = 32, 997
	}
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			whole := mustRead(t, boltFile(variant))
			want, secret := objects(whole), hidden(mustListing(t, variant), whole)
			path := mustCopy(t, variant)
			data := mustBytes(t, path)
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			places, refused := 0, 0
			for at := range data {
				if at%4096 >= head && at%step != 0 {
					continue
				}
				bit := byte(1) << rand.N(8)
				if _, err := f.WriteAt([]byte{data[at] ^ bit}, int64(at)); err != nil {
					t.Fatal(err)
				}
				if places++; checkDamaged(t, path, fmt.Sprintf("page %d, byte %d, bit %d", at/4096, at%4096, bit), want, secret) {
					refused++
				}
				if _, err := f.WriteAt(data[at:at+1], int64(at)); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%d flipped bits, %d refused", places, refused)
			if refused < places/50 {
				t.Errorf("only %d of %d were refused", refused, places)
			}
		})
	}
}

// TestOverwrittenPages replaces each page by noise, zeros and other pages.
func TestOverwrittenPages(t *testing.T) {
	const size = 4096
	whole := mustRead(t, boltFile("plain-tokens"))
	want, secret := objects(whole), hidden(mustListing(t, "plain-tokens"), whole)
	path := mustCopy(t, "plain-tokens")
	data := mustBytes(t, path)
	noise := make([]byte, size)
	for i := range noise {
		noise[i] = byte(rand.N(256))
	}
	for at := 0; at < len(data); at += size {
		for what, page := range map[string][]byte{"noise": noise, "zeros": make([]byte, size), "first page": data[:size], "page 5": data[5*size : 6*size]} {
			damaged := append([]byte(nil), data...)
			copy(damaged[at:], page)
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			checkDamaged(t, path, what+" instead of page "+strconv.Itoa(at/size), want, secret)
		}
	}
}

// TestCutFiles truncates the file at many places.
func TestCutFiles(t *testing.T) {
	data := mustBytes(t, boltFile("hashed-tokens"))
	c := mustRead(t, boltFile("hashed-tokens"))
	want, secret := objects(c), hidden(mustListing(t, "hashed-tokens"), c)
	path := filepath.Join(t.TempDir(), "cut.bolt")
	for size := 1; size < len(data); size += 509 {
		if err := os.WriteFile(path, data[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		// The file has unused pages at its end.
		if refused := checkDamaged(t, path, "truncated to "+strconv.Itoa(size), want, secret); !refused && size < len(data)/2 {
			t.Errorf("accepted a file truncated to %d of %d bytes", size, len(data))
		}
	}
}

// FuzzRead changes a valid file at places of the fuzzer's choice.
func FuzzRead(f *testing.F) {
	f.Add(uint32(0), []byte{1})
	f.Add(uint32(16), []byte("\xff\xff\xff\xff"))
	f.Add(uint32(4*4096), []byte{0, 0, 0, 0, 0, 0, 0, 1, 1, 0})
	f.Add(uint32(3*4096+8), []byte{1, 0, 9, 0, 0xff, 0xff, 0xff, 0xff})
	f.Add(uint32(9*4096+16), []byte("\x00\x00\x00\x00\xf0\xff\xff\xff\xff\xff\xff\xff"))
	data := mustBytes(f, boltFile("plain-tokens"))
	c := mustRead(f, boltFile("plain-tokens"))
	secret := hidden(mustListing(f, "plain-tokens"), c)
	path := filepath.Join(f.TempDir(), "fuzz.bolt")
	f.Fuzz(func(t *testing.T, at uint32, change []byte) {
		damaged := append([]byte(nil), data...)
		copy(damaged[int(at)%len(damaged):], change)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Read(path)
		switch {
		case err == nil:
			checkTold(t, "read", c.Skipped, secret)
		case !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign):
			t.Fatal(err)
		default:
			checkTold(t, "refused", []string{err.Error()}, secret)
		}
	})
}
