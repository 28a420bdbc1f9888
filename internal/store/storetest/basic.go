package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/store"
)

func testValues(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	wantGet(t, s, "a", "")
	MustSet(t, s, "a", "1")
	wantGet(t, s, "a", "1")
	MustSet(t, s, "a", "2")
	wantGet(t, s, "a", "2")
	wantGet(t, s, "aa", "")
	MustUpdate(t, s, func(tx store.Tx) error { return tx.Delete([]byte("a")) })
	wantGet(t, s, "a", "")
	MustUpdate(t, s, func(tx store.Tx) error { return tx.Delete([]byte("never")) })

	// Keys and values may contain any byte, and values may be empty.
	key := []byte{0, 0xff, 0, '\n'}
	MustUpdate(t, s, func(tx store.Tx) error { return tx.Set(key, []byte{}) })
	MustView(t, s, func(r store.Reader) error {
		v, err := r.Get(key)
		if err == nil && len(v) != 0 {
			t.Errorf("empty value: %q", v)
		}
		return err
	})
	MustView(t, s, func(r store.Reader) error {
		if _, err := r.Get([]byte("never")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("get a missing key: %v", err)
		}
		return nil
	})
	failed := errors.New("mine")
	if err := s.View(t.Context(), func(store.Reader) error { return failed }); err != failed {
		t.Errorf("view returned %v for its function's error", err)
	}
	MustUpdate(t, s, func(store.Tx) error { return nil })
}

func testRanges(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	keys := []string{"a", "b", "b\x00", "ba", "c", "\xff", "\xff\xff"}
	fill := func() {
		MustUpdate(t, s, func(tx store.Tx) error {
			for _, k := range keys {
				if err := tx.Set([]byte(k), []byte("v"+k)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	ranges := []struct {
		from, to []byte
		want     []string
	}{
		{nil, nil, keys},
		{[]byte("b"), nil, keys[1:]},
		{nil, []byte("b"), keys[:1]},
		{[]byte("b"), []byte("c"), keys[1:4]},
		{[]byte("b\x00"), []byte("ba"), keys[2:3]},
		{[]byte("b"), []byte("b"), nil},
		{[]byte("c"), []byte("b"), nil},
		{[]byte("d"), []byte("e"), nil},
		{[]byte("\xff"), store.PrefixEnd([]byte("\xff")), keys[5:]},
	}
	fill()
	for _, r := range ranges {
		t.Run(fmt.Sprintf("scan %q-%q", r.from, r.to), func(t *testing.T) {
			MustView(t, s, func(tx store.Reader) error {
				got, err := dump(tx, r.from, r.to)
				if err != nil {
					return err
				}
				var gotKeys []string
				for _, p := range got {
					gotKeys = append(gotKeys, p.Key)
					if p.Value != "v"+p.Key {
						t.Errorf("%v", p)
					}
				}
				if !slices.Equal(gotKeys, r.want) {
					t.Errorf("got %q, want %q", gotKeys, r.want)
				}
				return nil
			})
		})
		t.Run(fmt.Sprintf("delete %q-%q", r.from, r.to), func(t *testing.T) {
			defer fill()
			MustUpdate(t, s, func(tx store.Tx) error { return tx.DeleteRange(r.from, r.to) })
			var left []string
			for _, k := range keys {
				if !slices.Contains(r.want, k) {
					left = append(left, k)
				}
			}
			var got []string
			for _, p := range MustDump(t, s) {
				got = append(got, p.Key)
			}
			if !slices.Equal(got, left) {
				t.Errorf("%q left, want %q", got, left)
			}
		})
	}
}

func testPrefixEnd(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	for _, k := range []string{"p", "p/", "p/a", "p/\xff\xff", "p0", "\xff\xff", "\xff\xffx"} {
		MustSet(t, s, k, "v")
	}
	for _, c := range []struct {
		prefix string
		want   int
	}{{"p/", 3}, {"p", 5}, {"\xff", 2}, {"\xff\xff", 2}, {"", 7}, {"q", 0}} {
		MustView(t, s, func(r store.Reader) error {
			got, err := dump(r, []byte(c.prefix), store.PrefixEnd([]byte(c.prefix)))
			if len(got) != c.want {
				t.Errorf("prefix %q: %d keys, want %d", c.prefix, len(got), c.want)
			}
			return err
		})
	}
}

func testOwnWrites(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	MustSet(t, s, "old", "1")
	want := func(tx store.Tx, key, value string) {
		t.Helper()
		if got, ok, err := get(tx, key); err != nil || got != value || ok != (value != "") {
			t.Errorf("get %q: %q, %t, %v; want %q", key, got, ok, err, value)
		}
	}
	MustUpdate(t, s, func(tx store.Tx) error {
		want(tx, "old", "1")
		must(t, tx.Set([]byte("new"), []byte("2")))
		want(tx, "new", "2")
		must(t, tx.Set([]byte("new"), []byte("3")))
		want(tx, "new", "3")
		must(t, tx.Delete([]byte("old")))
		want(tx, "old", "")
		must(t, tx.Set([]byte("old"), []byte("4")))
		want(tx, "old", "4")
		must(t, tx.DeleteRange([]byte("n"), []byte("o")))
		want(tx, "new", "")
		want(tx, "old", "4")
		must(t, tx.DeleteRange(nil, nil))
		want(tx, "old", "")
		must(t, tx.Set([]byte("last"), []byte("5")))
		want(tx, "last", "5")
		return nil
	})
	if got := MustDump(t, s); !slices.Equal(got, []Pair{{"last", "5"}}) {
		t.Errorf("left %v", got)
	}
}

func testOwnWritesInScan(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	const n = 300 // more than an implementation would delete one by one
	key := func(i int) []byte { return fmt.Appendf(nil, "k%03d", i) }
	MustUpdate(t, s, func(tx store.Tx) error {
		for i := range n {
			must(t, tx.Set(key(i), []byte("old")))
		}
		return nil
	})
	want := map[string]string{}
	for i := range n {
		want[string(key(i))] = "old"
	}
	MustUpdate(t, s, func(tx store.Tx) error {
		for i := 0; i < n; i += 7 {
			must(t, tx.Delete(key(i)))
			delete(want, string(key(i)))
		}
		for i := 0; i < n; i += 5 {
			must(t, tx.Set(key(i), []byte("new")))
			want[string(key(i))] = "new"
		}
		must(t, tx.DeleteRange(key(20), key(150)))
		for i := 20; i < 150; i++ {
			delete(want, string(key(i)))
		}
		for i := 100; i < 110; i++ {
			must(t, tx.Set(key(i), []byte("again")))
			want[string(key(i))] = "again"
		}
		must(t, tx.Set([]byte("a"), []byte("first")))
		want["a"] = "first"
		must(t, tx.Set([]byte("z"), []byte("last")))
		want["z"] = "last"

		for _, r := range [][2][]byte{{nil, nil}, {key(10), key(120)}, {key(103), key(104)}, {key(140), nil}, {nil, key(21)}} {
			got, err := dump(tx, r[0], r[1])
			must(t, err)
			if w := inRange(want, r[0], r[1]); !slices.Equal(got, w) {
				t.Errorf("scan %q-%q: %v\nwant %v", r[0], r[1], got, w)
			}
		}

		// A scan's function may read, and write outside the range.
		must(t, tx.Scan(key(0), key(20), func(k, v []byte) (bool, error) {
			kept := string(k)
			must(t, tx.Set(append([]byte("copy/"), k...), v))
			want["copy/"+kept] = string(v)
			got, _, err := get(tx, kept)
			must(t, err)
			if got != want[kept] || string(k) != kept {
				t.Errorf("in a scan, %q has %q, want %q", k, got, want[kept])
			}
			return true, nil
		}))
		return nil
	})
	if got, w := MustDump(t, s), inRange(want, nil, nil); !slices.Equal(got, w) {
		t.Errorf("after: %v\nwant %v", got, w)
	}
}

func testCopiesBytes(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	key, value := []byte("key"), []byte("value")
	from, to := []byte("x"), []byte("y")
	MustUpdate(t, s, func(tx store.Tx) error {
		must(t, tx.Set(key, value))
		must(t, tx.DeleteRange(from, to))
		copy(key, "???")
		copy(value, "?????")
		from[0], to[0] = 'a', 'z'
		copy(key, "del")
		must(t, tx.Delete(key))
		copy(key, "key")
		return nil
	})
	if got := MustDump(t, s); !slices.Equal(got, []Pair{{"key", "value"}}) {
		t.Errorf("got %v", got)
	}

	// Results of Get stay valid until the function returns.
	for i := range 100 {
		MustSet(t, s, fmt.Sprintf("v%02d", i), string(bytes.Repeat([]byte{byte(i)}, i*200+1)))
	}
	check := func(r store.Reader) error {
		var got [][]byte
		for i := range 100 {
			v, err := r.Get(fmt.Appendf(nil, "v%02d", i))
			must(t, err)
			got = append(got, v)
		}
		for i, v := range got {
			if !bytes.Equal(v, bytes.Repeat([]byte{byte(i)}, i*200+1)) {
				t.Errorf("value %d changed during the transaction", i)
			}
		}
		return nil
	}
	MustView(t, s, check)
	MustUpdate(t, s, func(tx store.Tx) error {
		for i := 0; i < 100; i += 3 {
			must(t, tx.Set(fmt.Appendf(nil, "v%02d", i), bytes.Repeat([]byte{byte(i)}, i*200+1)))
		}
		return check(tx)
	})
}

func testStopsScan(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	for _, k := range []string{"a", "b", "c"} {
		MustSet(t, s, k, "v")
	}
	mine := errors.New("mine")
	check := func(r store.Reader) error {
		n := 0
		err := r.Scan(nil, nil, func(_, _ []byte) (bool, error) { n++; return n < 2, nil })
		if err != nil || n != 2 {
			t.Errorf("stopped scan: %d keys, %v", n, err)
		}
		n = 0
		err = r.Scan(nil, nil, func(_, _ []byte) (bool, error) { n++; return true, mine })
		if err != mine || n != 1 {
			t.Errorf("failed scan: %d keys, %v", n, err)
		}
		return nil
	}
	MustView(t, s, check)
	MustUpdate(t, s, func(tx store.Tx) error { return check(tx) })
	MustUpdate(t, s, func(tx store.Tx) error {
		must(t, tx.Set([]byte("aa"), []byte("v")))
		return check(tx)
	})
}

func testReopen(t *testing.T, o Opener) {
	s := MustOpen(t, o)
	MustSet(t, s, "a", "1")
	MustSet(t, s, "b", "2")
	MustUpdate(t, s, func(tx store.Tx) error { return tx.Delete([]byte("a")) })
	MustClose(t, s)
	s = MustOpen(t, o)
	if got := MustDump(t, s); !slices.Equal(got, []Pair{{"b", "2"}}) {
		t.Errorf("after reopening: %v", got)
	}
}

func testReopenManyTimes(t *testing.T, o Opener) {
	const n = 10
	for i := range n {
		s := MustOpen(t, o)
		if got := len(MustDump(t, s)); got != i {
			t.Fatalf("open %d: %d keys", i, got)
		}
		MustSet(t, s, fmt.Sprintf("k%d", i), "v")
		MustClose(t, s)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// inRange returns the pairs of m with keys in [from, to), in order.
func inRange(m map[string]string, from, to []byte) []Pair {
	var all []Pair
	for k, v := range m {
		if k >= string(from) && (to == nil || k < string(to)) {
			all = append(all, Pair{k, v})
		}
	}
	slices.SortFunc(all, func(a, b Pair) int { return bytes.Compare([]byte(a.Key), []byte(b.Key)) })
	return all
}
