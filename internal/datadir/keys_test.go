package datadir

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// TestSharedKeyFile lets servers with folders of their own make the same key file at
// once: all must get the key that is in it in the end.
func TestSharedKeyFile(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "key")
		var used [4]string
		var made atomic.Int32
		var all sync.WaitGroup
		for i := range used {
			all.Go(func() {
				p, own, err := makeKeyFile(path)
				if err != nil {
					t.Error(err)
					return
				}
				if used[i] = keyID(t, p); own {
					made.Add(1)
				}
			})
		}
		all.Wait()
		p, own, err := makeKeyFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := made.Load(); n != 1 || own {
			t.Fatalf("%d servers have made the file, and one more later: %t", n, own)
		}
		for _, id := range used {
			if last := keyID(t, p); id != last {
				t.Fatalf("a server has the key %s, and the file %s", id, last)
			}
		}
	}
}

func keyID(t *testing.T, p seal.Provider) string {
	ref, _, err := p.Key(t.Context())
	if err != nil {
		t.Error(err)
	}
	return ref.ID
}
