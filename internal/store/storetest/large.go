package storetest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

func testLargeValues(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	const n, size = 20, 1 << 20
	value := func(i int) []byte {
		rng := bytes.Repeat([]byte{byte(i), byte(i * 7), 0, 0xff}, size/4)
		return append(rng, byte(i))
	}
	for i := range n {
		MustUpdate(t, s, func(tx store.Tx) error { return tx.Set(fmt.Appendf(nil, "k%02d", i), value(i)) })
	}
	check := func(s store.Store) {
		t.Helper()
		MustView(t, s, func(r store.Reader) error {
			var got [][]byte
			for i := range n {
				v, err := r.Get(fmt.Appendf(nil, "k%02d", i))
				must(t, err)
				got = append(got, v)
			}
			for i, v := range got {
				if !bytes.Equal(v, value(i)) {
					t.Errorf("value %d differs", i)
				}
			}
			return nil
		})
		i := 0
		MustView(t, s, func(r store.Reader) error {
			return r.Scan(nil, nil, func(_, v []byte) (bool, error) {
				if !bytes.Equal(v, value(i)) {
					t.Errorf("value %d differs in a scan", i)
				}
				i++
				return true, nil
			})
		})
	}
	check(s)
	MustClose(t, s)
	check(MustOpen(t, o))
}

// testManyKeys writes 100,000 keys in one change.
func testManyKeys(t *testing.T, o Opener) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	s := MustOpen(t, o)
	MustUpdate(t, s, func(tx store.Tx) error {
		for i := range n {
			// In no particular order, like real keys.
			must(t, tx.Set(fmt.Appendf(nil, "k%08d", uint32(i*7919)%uint32(n)), fmt.Appendf(nil, "v%d", uint32(i*7919)%uint32(n))))
		}
		count := 0
		must(t, tx.Scan(nil, nil, func(_, _ []byte) (bool, error) { count++; return true, nil }))
		if count != n {
			t.Errorf("%d keys in the transaction, want %d", count, n)
		}
		return nil
	})
	check := func(s store.Store) {
		t.Helper()
		i := 0
		MustView(t, s, func(r store.Reader) error {
			return r.Scan(nil, nil, func(k, v []byte) (bool, error) {
				if string(k) != fmt.Sprintf("k%08d", i) || string(v) != fmt.Sprintf("v%d", i) {
					return false, fmt.Errorf("key %d is %q=%q", i, k, v)
				}
				i++
				return true, nil
			})
		})
		if i != n {
			t.Errorf("%d keys, want %d", i, n)
		}
	}
	check(s)
	MustClose(t, s)
	s = MustOpen(t, o)
	check(s)
	MustUpdate(t, s, func(tx store.Tx) error { return tx.DeleteRange([]byte("k"), []byte("l")) })
	if left := MustDump(t, s); len(left) > 0 {
		t.Errorf("%d keys left", len(left))
	}
}
