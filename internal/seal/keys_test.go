package seal_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// newRand returns a random source and reports its seed, so that a failure can
// be reproduced.
func newRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := [2]uint64{rand.Uint64(), rand.Uint64()}
	t.Logf("seed %#x", seed)
	return rand.New(rand.NewPCG(seed[0], seed[1]))
}

func randomBytes(r *rand.Rand, max int) []byte {
	b := make([]byte, r.IntN(max+1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	k, r := newKeys(t), newRand(t)
	for range 500 {
		plaintext, place := randomBytes(r, 2048), randomBytes(r, 128)
		sealed := mustSeal(t, k, plaintext, place)
		if want := len(plaintext) + 45; len(sealed) != want {
			t.Fatalf("%d bytes were sealed to %d bytes, want %d", len(plaintext), len(sealed), want)
		}
		got, err := k.Open(sealed, place)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, plaintext) {
			t.Fatalf("opened %x, want %x", got, plaintext)
		}
		if id, ok := k.KeyID(sealed); !ok || id != k.PrimaryKeyID() {
			t.Fatalf("KeyID = %08x, %v, want the primary %08x", id, ok, k.PrimaryKeyID())
		}
	}
}

func TestAnyFlippedBitFails(t *testing.T) {
	k, r := newKeys(t), newRand(t)
	for _, size := range []int{0, 1, 32, 100} {
		plaintext, place := make([]byte, size), randomBytes(r, 64)
		sealed := mustSeal(t, k, plaintext, place)
		for bit := range 8 * len(sealed) {
			changed := bytes.Clone(sealed)
			changed[bit/8] ^= 1 << (bit % 8)
			wantDamaged(t, k, changed, place)
		}
		for bit := range 8 * len(place) {
			changed := bytes.Clone(place)
			changed[bit/8] ^= 1 << (bit % 8)
			wantDamaged(t, k, sealed, changed)
		}
	}
}

func TestOtherLengthsFail(t *testing.T) {
	k := newKeys(t)
	place := []byte("a place")
	sealed := mustSeal(t, k, []byte("a value"), place)
	for n := range len(sealed) {
		wantDamaged(t, k, sealed[:n], place)
	}
	wantDamaged(t, k, append(bytes.Clone(sealed), 0), place)
	for n := range len(place) {
		wantDamaged(t, k, sealed, place[:n])
	}
	wantDamaged(t, k, sealed, nil)
	wantDamaged(t, k, sealed, append(bytes.Clone(place), 0))
}

func wantDamaged(t *testing.T, k *seal.Keys, sealed, place []byte) {
	t.Helper()
	got, err := k.Open(sealed, place)
	if !errors.Is(err, seal.ErrDamaged) {
		t.Fatalf("Open(%x, %x) = %x, %v, want ErrDamaged", sealed, place, got, err)
	}
	if got != nil {
		t.Fatalf("Open(%x, %x) failed and returned %x", sealed, place, got)
	}
}

func TestAnotherKeysetDoesNotOpen(t *testing.T) {
	place := []byte("place")
	sealed := mustSeal(t, newKeys(t), []byte("value"), place)
	_, err := newKeys(t).Open(sealed, place)
	if !errors.Is(err, seal.ErrDamaged) || !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("err = %v, want ErrDamaged and ErrUnknownKey", err)
	}
}

func TestSealedShowsNothing(t *testing.T) {
	k := newKeys(t)
	plaintext, place := []byte(strings.Repeat("marker", 8)), []byte(strings.Repeat("location", 8))
	first, second := mustSeal(t, k, plaintext, place), mustSeal(t, k, plaintext, place)
	for _, sealed := range [][]byte{first, second} {
		if bytes.Contains(sealed, []byte("marker")) || bytes.Contains(sealed, []byte("location")) {
			t.Errorf("sealed bytes contain plaintext or place: %q", sealed)
		}
	}
	if bytes.Equal(first[5:29], second[5:29]) {
		t.Error("two values have the same nonce")
	}
	if bytes.Equal(first[29:], second[29:]) {
		t.Error("the same value was sealed to the same bytes twice")
	}
}

func TestSealAndOpenKeepTheirArguments(t *testing.T) {
	k := newKeys(t)
	plaintext, place := []byte("value"), []byte("place")
	sealed := mustSeal(t, k, plaintext, place)
	before := bytes.Clone(sealed)
	got, err := k.Open(sealed, place)
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	if !bytes.Equal(sealed, before) || string(plaintext) != "value" || string(place) != "place" {
		t.Error("an argument has changed")
	}
}

func TestLookup(t *testing.T) {
	k := newKeys(t)
	first := k.Lookup("secret", []byte("db"))
	if again := k.Lookup("secret", []byte("db")); again != first {
		t.Errorf("the same name has the hashes %x and %x", first, again)
	}
	seen := map[[16]byte]string{first: "secret/db"}
	for _, c := range []struct{ purpose, name string }{
		{"secret", "dB"}, {"secret", ""}, {"secretd", "b"}, {"secre", "tdb"}, {"", "secretdb"}, {"secretdb", ""},
		{"", ""}, {"audit", "db"}, {"secret", "db\x00"}, {"secret\x00", "db"},
	} {
		h := k.Lookup(c.purpose, []byte(c.name))
		if other, ok := seen[h]; ok {
			t.Errorf("%q/%q has the hash of %q", c.purpose, c.name, other)
		}
		seen[h] = c.purpose + "/" + c.name
	}
	if other := newKeys(t).Lookup("secret", []byte("db")); other == first {
		t.Error("two keysets give the same hash")
	}
}

func TestKeysInManyGoroutines(t *testing.T) {
	k := newKeys(t)
	want := k.Lookup("purpose", []byte("name"))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			plaintext, place := bytes.Repeat([]byte{byte(g)}, 100+g), []byte{byte(g)}
			for range 200 {
				sealed, err := k.Seal(plaintext, place)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := k.Open(sealed, place); err != nil || !bytes.Equal(got, plaintext) {
					t.Errorf("Open = %x, %v", got, err)
					return
				}
				if got := k.Lookup("purpose", []byte("name")); got != want {
					t.Errorf("Lookup = %x, want %x", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestSealAndOpenAllocateTheirResultOnly(t *testing.T) {
	k := newKeys(t)
	plaintext, place := make([]byte, 1024), make([]byte, 40)
	sealed := mustSeal(t, k, plaintext, place)
	if n := testing.AllocsPerRun(100, func() { k.Seal(plaintext, place) }); n != 1 {
		t.Errorf("Seal allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { k.Open(sealed, place) }); n != 1 {
		t.Errorf("Open allocates %v times", n)
	}
}
