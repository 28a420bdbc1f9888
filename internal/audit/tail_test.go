package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/race"
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
				t.Errorf("asked for the last %d lines, got %d", n, len(got))
			}
			for i := range got {
				if got[i] != got[0]+uint64(i) {
					t.Fatalf("line %d follows line %d", got[i], got[i-1])
				}
			}
		}
		if packed { // only the newest file, compressed
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
	race.SkipSequential(t)
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
			t.Fatalf("byte %d was reported as line %d, but is line %d (%v)", off, at, e.Seq, err)
		}
		if at > seq || (seq-at)*uint64(len(line)) > 64<<10 {
			t.Fatalf("the search for line %d starts at line %d", seq, at)
		}
	}
}

func TestTailOfNothing(t *testing.T) {
	path := logPath(t)
	emit := func([]byte) error { t.Error("unexpected line"); return nil }
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

// TestTailFollows checks that following continues in new files, however they
// are created.
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
				t.Fatalf("Tail returned %v", err)
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
	for range 3 { // several files between two polls
		w.append(t, l, 2)
		rotate()
	}
	w.append(t, l, 2)
	wait()
	shift(t, path)
	w.append(t, l, 2) // to the moved file
	wait()
	mustWrite(t, path, nil)
	w.append(t, l, 2)
	wait()
	rotate()
	w.append(t, l, 2)
	wait()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Tail returned %v", err)
	}
	if len(got) > 0 {
		t.Errorf("%d lines were repeated", len(got))
	}
}

// TestTailFollowsPackedFile checks that following does not end at a compressed
// file whose successor has no lines yet.
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
