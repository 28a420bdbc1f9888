package keep

import "testing"

func TestRecent(t *testing.T) {
	r := recent[int, string]{size: 3}
	has := func(k int, want string) {
		t.Helper()
		if got, ok := r.get(k); got != want || ok != (want != "") {
			t.Errorf("%d: got %q, %v, want %q", k, got, ok, want)
		}
	}
	has(1, "")
	r.put(1, "a")
	r.put(1, "b")
	has(1, "b")
	for k := 2; k <= 7; k++ {
		r.put(k, "x")
		has(1, "b") // what is used is not forgotten
	}
	has(2, "")
	has(7, "x")
	r.put(1, "c") // never the value that was there before
	for k := 10; k <= 12; k++ {
		r.put(k, "x")
	}
	has(1, "c")
	r.forget(1)
	has(1, "")
	if n := len(r.young) + len(r.old); n > 2*r.size {
		t.Errorf("%d entries", n)
	}
	r.clear()
	has(12, "")
}
