package gencache

import "testing"

func TestCache(t *testing.T) {
	c := New[int, string](3)
	has := func(k int, want string) {
		t.Helper()
		if got, ok := c.Get(k); got != want || ok != (want != "") {
			t.Errorf("%d: got %q, %v, want %q", k, got, ok, want)
		}
	}
	has(1, "")
	c.Put(1, "a")
	c.Put(1, "b")
	has(1, "b")
	for k := 2; k <= 7; k++ {
		c.Put(k, "x")
		has(1, "b") // used entries are retained
	}
	has(2, "")
	has(7, "x")
	c.Put(1, "c") // the old value must not return
	for k := 10; k <= 12; k++ {
		c.Put(k, "x")
	}
	has(1, "c")
	c.Delete(1)
	has(1, "")
	if n := len(c.young) + len(c.old); n > 2*c.size {
		t.Errorf("%d entries", n)
	}
	c.Clear()
	has(12, "")
}
