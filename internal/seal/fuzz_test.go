package seal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// needSeeds fails if the seeds are missing: without them, an ordinary test run
// would check nothing and pass.
func needSeeds(f *testing.F) {
	f.Helper()
	seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", f.Name()))
	if err != nil || len(seeds) < 10 {
		f.Fatalf("%d seeds in testdata/fuzz/%s: %v", len(seeds), f.Name(), err)
	}
}

func FuzzOpen(f *testing.F) {
	needSeeds(f)
	v := readSealedVectors(f)
	k := vectorKeys(f, v, "three keys")
	known := make(map[string]bool)
	for _, c := range v.Vectors {
		if c.Result == "ok" || c.Result == "unknown key" { // unknown to a smaller keyset
			known[string(c.Sealed)+"|"+string(c.Place)] = true
		}
	}
	f.Fuzz(func(t *testing.T, sealed, place []byte) {
		got, err := k.Open(sealed, place)
		if err != nil && (!errors.Is(err, seal.ErrDamaged) || got != nil) {
			t.Errorf("Open = %x, %v, want ErrDamaged", got, err)
		}
		if err == nil && !known[string(sealed)+"|"+string(place)] {
			t.Errorf("opened unsealed bytes as %x", got)
		}
		if _, ok := k.KeyID(sealed); !ok && err == nil {
			t.Error("opened bytes without a key ID")
		}

		again := mustSeal(t, k, sealed, place)
		if got, err := k.Open(again, place); err != nil || !bytes.Equal(got, sealed) {
			t.Errorf("Open(Seal(x)) = %x, %v, want %x", got, err, sealed)
		}
		if _, err := k.Open(again, append(bytes.Clone(place), 0)); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("in another place: %v, want ErrDamaged", err)
		}
	})
}

func FuzzLoad(f *testing.F) {
	needSeeds(f)
	var v documentVectors
	readVectors(f, "documents.json", &v)
	kek, err := openKeyFile(f, v.Vectors[0].KeyFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		info, describeErr := seal.Describe(doc)
		k, err := seal.Load(t.Context(), doc, kek)
		switch {
		case err == nil:
			if describeErr != nil || info.Kind != seal.KindKeyFile {
				t.Errorf("Load accepts a document that Describe reports as %+v, %v", info, describeErr)
			}
			if got, err := k.Open(mustSeal(t, k, doc, doc), doc); err != nil || !bytes.Equal(got, doc) {
				t.Errorf("the loaded keyset does not work: %v", err)
			}
		case k != nil:
			t.Errorf("Load fails with %v and returns a keyset", err)
		case !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrWrongKey) && !errors.Is(err, seal.ErrNewerFormat):
			t.Errorf("Load: %v, want one of the package's errors", err)
		case describeErr != nil && err.Error() != strings.Replace(describeErr.Error(), "describe", "load", 1):
			t.Errorf("Load: %v, Describe: %v", err, describeErr)
		}

		// Again with a corrected checksum, to get past it.
		b, err := seal.Rechecksum(doc)
		if err != nil {
			return
		}
		_, err = seal.Load(t.Context(), b, kek)
		if err != nil && !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrWrongKey) && !errors.Is(err, seal.ErrNewerFormat) {
			t.Errorf("Load with a correct checksum: %v, want one of the package's errors", err)
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	needSeeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		master, err := seal.ParseKeyFile(text)
		if err != nil {
			if !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrNewerFormat) || master != nil {
				t.Errorf("ParseKeyFile = %x, %v, want ErrDamaged or ErrNewerFormat", master, err)
			}
			for word := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == ':' || r == '\n' }) {
				if len(word) > 16 && strings.Contains(err.Error(), word) {
					t.Errorf("the error contains the file's %q: %v", word, err)
				}
			}
			return
		}
		line := seal.KeyLine(master)
		if !strings.Contains(strings.ToLower(string(text)), line) {
			t.Errorf("%q was parsed as %q", text, line)
		}
		if again, err := seal.ParseKeyFile([]byte(line)); err != nil || !bytes.Equal(again, master) {
			t.Errorf("%q was parsed as %x, %v", line, again, err)
		}
	})
}
