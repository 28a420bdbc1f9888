package secretmap

import (
	"fmt"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/record"
)

// withoutOrigins rewrites the secret records as they were before they had origins.
func (k *kit) withoutOrigins(t *testing.T) {
	t.Helper()
	err := k.Update(t.Context(), func(tx *record.Writer) error {
		m, err := k.maps.Read(&tx.Reader, testOrg)
		if err != nil {
			return err
		}
		older := map[string][]byte{}
		err = tx.ScanPrefix(record.Key(record.TableSecret, m.head.Map), func(key, sealed []byte) (bool, error) {
			s, err := m.openSecret(key, sealed)
			older[string(key)] = encodeSecret(s.kind, nil, s.name, s.value)
			return true, err
		})
		for key, plain := range older {
			if err == nil {
				err = tx.Remove([]byte(key))
			}
			if err == nil {
				err = tx.Put([]byte(key), plain)
			}
		}
		tx.MapChanges(testOrg, m.head.Map) // none: the keys are the same
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	k.maps.ClearCaches()
}

func (k *kit) history(t *testing.T, name string) (out []SecretChange) {
	t.Helper()
	err := k.View(t.Context(), func(r *record.Reader) error {
		m, err := k.maps.Read(r, testOrg)
		if err == nil {
			out, err = m.SecretHistory(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSecretsWithoutOrigins: of a secret from before its last change was stored with
// it, the last change is known as long as its version exists, and its history
// begins with what there is.
func TestSecretsWithoutOrigins(t *testing.T) {
	k := newKit(t)
	begin := k.Now
	k.set(t, "old")
	for range DefaultMaxVersions {
		k.Now = k.Now.Add(time.Minute)
		k.set(t, "n")
	}
	k.withoutOrigins(t)
	if h := k.history(t, "old"); len(h) != 1 || h[0].Version != 1 || !h[0].Time.IsZero() {
		t.Errorf("the history of a secret from a version that is gone is %+v", h)
	}
	h := k.history(t, "n")
	if len(h) != DefaultMaxVersions || !h[0].Time.Equal(k.Now) || h[9].Version != 2 || !h[9].Time.Equal(begin.Add(time.Minute)) {
		t.Errorf("the history of the other is %+v", h)
	}
	for i := range 40 {
		k.Now = k.Now.Add(time.Minute)
		k.apply(t, Change{Set: map[string]string{"n": fmt.Sprint(i), "old": fmt.Sprint(i / 20)}})
	}
	if h := k.history(t, "n"); len(h) != DefaultMaxVersions || h[9].Version != 42 {
		t.Errorf("after more changes, the history is %+v", h)
	}
	if h := k.history(t, "old"); len(h) != 3 || !h[1].Time.Equal(begin.Add(11*time.Minute)) {
		t.Errorf("after more changes, the history of the old one is %+v", h)
	}
	if n := k.count(t, record.TableSecret); n >= 2*DefaultMaxVersions+historyEvery {
		t.Errorf("%d secret records are left", n)
	}
}
