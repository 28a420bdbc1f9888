package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"
)

func tailSeqs(tb testing.TB, path string, n int) []uint64 {
	tb.Helper()
	var seqs []uint64
	err := Tail(context.Background(), path, n, false, func(line []byte) error {
		e, err := Parse(line)
		seqs = append(seqs, e.Seq)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return seqs
}

func TestTail(t *testing.T) {
	const first, second, third = 700, 300, 50
	for _, packed := range []bool{false, true} {
		path := logPath(t)
		names, _ := newRotatedLog(t, path, first, second, third)
		if packed {
			gzipFile(t, names[0])
			gzipFile(t, names[1])
		}
		all := first + second + third
		for _, n := range []int{0, 1, 49, 50, 51, 349, 350, 351, 800, all - 1, all, all + 1, -1} {
			want := min(n, all)
			if n < 0 {
				want = all
			}
			got := tailSeqs(t, path, n)
			if len(got) != want || want > 0 && (got[0] != uint64(all-want+1) || got[want-1] != uint64(all)) {
				t.Errorf("the last %d lines are %d lines", n, len(got))
			}
			for i := range got {
				if got[i] != got[0]+uint64(i) {
					t.Fatalf("line %d comes after line %d", got[i], got[i-1])
				}
			}
		}
		if packed { // the newest file alone, and packed
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(tailSeqs(t, path, 2)); got != "[999 1000]" {
				t.Errorf("got lines %s", got)
			}
		}
	}
}

func TestLocate(t *testing.T) {
	path := logPath(t)
	newLogWith(t, path, 2000)
	segs, err := openSegments(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeSegments(segs)
	s := segs[0]
	for seq := uint64(1); seq <= 2000; seq++ {
		off, at, err := s.locate(seq)
		if err != nil {
			t.Fatal(err)
		}
		line, err := newLines(s.section(off)).next()
		if err != nil {
			t.Fatal(err)
		}
		e, err := Parse(line)
		if err != nil || e.Seq != at {
			t.Fatalf("byte %d is said to be line %d, and is %d (%v)", off, at, e.Seq, err)
		}
		if at > seq || (seq-at)*uint64(len(line)) > 64<<10 {
			t.Fatalf("line %d is looked for from line %d on", seq, at)
		}
	}
}

func TestTailOfNothing(t *testing.T) {
	path := logPath(t)
	emit := func([]byte) error { t.Error("there is no line"); return nil }
	if err := Tail(t.Context(), path, 5, false, emit); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: got %v", err)
	}
	for _, text := range []string{"", `{"seq":1,`} {
		mustWrite(t, path, []byte(text))
		if err := Tail(t.Context(), path, 5, false, emit); err != nil {
			t.Errorf("with %q: got %v", text, err)
		}
	}
}

func TestTailLeavesOutTornLine(t *testing.T) {
	path := logPath(t)
	newLogWith(t, path, 3)
	mustWrite(t, path, append(mustRead(t, path), `{"seq":4,`...))
	if got := fmt.Sprint(tailSeqs(t, path, 2)); got != "[2 3]" {
		t.Errorf("got lines %s", got)
	}
}

func TestTailEndsWithEmit(t *testing.T) {
	path := logPath(t)
	newRotatedLog(t, path, 3, 3)
	enough := errors.New("enough")
	n := 0
	err := Tail(t.Context(), path, -1, true, func([]byte) error {
		if n++; n == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 2 {
		t.Errorf("got %d lines, %v", n, err)
	}
}

// Follow goes on in the files that follow, in whatever way they come to be.
func TestTailFollows(t *testing.T) {
	path := logPath(t)
	l := mustOpen(t, path, nil)
	w := newWriter()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	got := make(chan ID, 1000)
	ended := make(chan error)
	go func() {
		ended <- Tail(ctx, path, 10, true, func(line []byte) error {
			e, err := Parse(line)
			got <- e.ID
			return err
		})
	}()
	seen := 0
	wait := func() {
		t.Helper()
		for ; seen < len(w.took); seen++ {
			select {
			case id := <-got:
				if id != w.took[seen] {
					t.Fatalf("line %d: got record %v, want %v", seen+1, id, w.took[seen])
				}
			case err := <-ended:
				t.Fatalf("it ended with %v", err)
			}
		}
	}
	rotate := func() {
		t.Helper()
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	wait() // an empty log
	w.append(t, l, 3)
	wait()
	w.append(t, l, 2)
	rotate()
	w.append(t, l, 2)
	wait()
	for range 3 { // several files between two looks
		w.append(t, l, 2)
		rotate()
	}
	w.append(t, l, 2)
	wait()
	shift(t, path)
	w.append(t, l, 2) // to the file that was moved
	wait()
	mustWrite(t, path, nil)
	w.append(t, l, 2)
	wait()
	rotate()
	w.append(t, l, 2)
	wait()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if len(got) > 0 {
		t.Errorf("%d lines came twice", len(got))
	}
}

// A packed file whose successor has no line yet does not end the following.
func TestTailFollowsPackedFile(t *testing.T) {
	path := logPath(t)
	newLogWith(t, path, 3)
	shift(t, path)
	gzipFile(t, path+".1")
	l := mustOpen(t, path, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var seqs []uint64
	err := Tail(ctx, path, 2, true, func(line []byte) error {
		e, err := Parse(line)
		seqs = append(seqs, e.Seq)
		switch e.Seq {
		case 3:
			newWriter().append(t, l, 2)
		case 5:
			cancel()
		}
		return err
	})
	if !errors.Is(err, context.Canceled) || fmt.Sprint(seqs) != "[2 3 4 5]" {
		t.Errorf("got lines %v, %v", seqs, err)
	}
}
