package keep_test

import (
	"bytes"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/store"
	"go.uber.org/goleak"
)

// TestMain checks that no goroutine is left once everything is closed.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Helpers for several tests of this package, in addition to keeptest.

func set(pairs ...string) keep.Change {
	ch := keep.Change{Set: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		ch.Set[pairs[i]] = pairs[i+1]
	}
	return ch
}

func cas(n uint64) *uint64 { return &n }

// mustUser creates a user with a password.
func mustUser(t *testing.T, k *keeptest.Kit, name, password string) keep.ID {
	t.Helper()
	op := k.Operator(t, keep.InfluxDB)
	u, err := k.CreateUser(t.Context(), op, name, true)
	if err == nil {
		err = k.SetPassword(t.Context(), op, u.ID, password)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u.ID
}

// outcomes returns the outcomes of an action in the audit log.
func outcomes(tb testing.TB, k *keeptest.Kit, action string) (list []string) {
	tb.Helper()
	records, _ := k.AuditRecords(tb, 0)
	for _, r := range records {
		if r.Action == action {
			list = append(list, r.Outcome)
		}
	}
	return list
}

// raw returns all records of a store, including those of the audit outbox; see
// Contents.
func raw(t *testing.T, k *keeptest.Kit) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := k.Store().View(t.Context(), func(r store.Reader) error {
		return r.Scan([]byte{0}, nil, func(key, value []byte) (bool, error) {
			all[string(key)] = bytes.Clone(value)
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t *testing.T, k *keeptest.Kit, key string, value []byte) {
	t.Helper()
	k.Tamper()
	err := k.Store().Update(t.Context(), func(w store.Tx) error {
		if value == nil {
			return w.Delete([]byte(key))
		}
		return w.Set([]byte(key), value)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// records counts the store's records in a table.
func records(tb testing.TB, k *keeptest.Kit, table byte) int {
	n := 0
	err := k.Store().View(tb.Context(), func(r store.Reader) error {
		return r.Scan([]byte{table}, []byte{table + 1}, func([]byte, []byte) (bool, error) { n++; return true, nil })
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// sharedStore is a store that other processes may change too.
type sharedStore struct{ store.Store }

func (sharedStore) Exclusive() bool         { return false }
func (sharedStore) Revision(...byte) uint64 { return 0 }
