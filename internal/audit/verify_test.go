package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/race"
)

func TestVerifyReport(t *testing.T) {
	path := logPath(t)
	names, end := newRotatedLog(t, path, 3, 4, 5)
	var size int64
	for _, name := range names {
		size += int64(len(mustRead(t, name)))
	}
	want := Report{Files: 3, Lines: 12, Bytes: size, First: 1, Last: end, FirstTime: testTime, LastTime: testTime}
	for _, check := range []*Checkpoint{nil, {}, &end} {
		if got, err := Verify(t.Context(), path, check); err != nil || got != want {
			t.Errorf("with checkpoint %v:\ngot  %+v, %v\nwant %+v", check, got, err, want)
		}
	}
	for n := range 12 {
		check := checkpointBefore(t, path, n)
		if _, err := Verify(t.Context(), path, &check); err != nil {
			t.Errorf("with the checkpoint of line %d: %v", n, err)
		}
	}
	if err := os.Remove(names[0]); err != nil {
		t.Fatal(err)
	}
	got, err := Verify(t.Context(), path, &end)
	if err != nil || got.First != 4 || got.Missing != 3 || got.Lines != 9 {
		t.Errorf("without the oldest file: got %+v, %v", got, err)
	}
}

// checkpointBefore returns the checkpoint of line n, which may be 0 but must
// not be the last line.
func checkpointBefore(tb testing.TB, path string, n int) Checkpoint {
	tb.Helper()
	return Checkpoint{Seq: uint64(n), Hash: readEntries(tb, path)[n].Prev}
}

func TestVerifyNothing(t *testing.T) {
	path := logPath(t)
	if _, err := Verify(t.Context(), path, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: got %v", err)
	}
	mustWrite(t, path, nil)
	if report, err := Verify(t.Context(), path, nil); err != nil || report != (Report{}) {
		t.Errorf("with an empty file: got %+v, %v", report, err)
	}
	if _, err := Verify(t.Context(), path, &Checkpoint{Seq: 1}); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("with an empty file and a checkpoint: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	newLogWith(t, path, 1)
	if _, err := Verify(ctx, path, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancellation: got %v", err)
	}
}

// TestVerifyFindsEachChangedByte checks that Verify fails whatever byte of
// whatever file is changed. Without a checkpoint, there are two exceptions:
// the record in the last line, since no line confirms it, and that line's
// newline, without which it is reported as a torn line. With the checkpoint of
// the last line, there is none.
func TestVerifyFindsEachChangedByte(t *testing.T) {
	race.SkipSequential(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	stride := 1
	if testing.Short() {
		stride = 7
	}
	for _, counts := range [][]int{{3}, {2, 2}, {1, 1, 1}} {
		path := logPath(t)
		names, end := newRotatedLog(t, path, counts...)
		for _, name := range names {
			whole := mustRead(t, name)
			last := len(whole) // start of the last line's record
			if name == path {
				last = bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
				last += bytes.Index(whole[last:], []byte(`"id":"`)) + len(`"id":"`)
			}
			for i := 0; i < len(whole); i += stride {
				old := whole[i]
				c := []byte{old ^ 1<<rnd.IntN(8), old ^ 1<<rnd.IntN(8), '\n', '0', byte(rnd.IntN(256))}[rnd.IntN(5)]
				if c == old {
					c ^= 1
				}
				whole[i] = c
				mustWrite(t, name, whole)
				whole[i] = old
				where := fmt.Sprintf("%v lines: %s: byte %d: %q instead of %q", counts, filepath.Base(name), i, c, old)
				if _, err := Verify(t.Context(), path, &end); err == nil {
					t.Fatalf("%s: undetected with a checkpoint", where)
				}
				report, err := Verify(t.Context(), path, nil)
				if err == nil && i < last {
					t.Fatalf("%s: undetected without a checkpoint", where)
				}
				if err == nil && i == len(whole)-1 && report.Torn == 0 {
					t.Fatalf("%s: the torn line was not reported", where)
				}
			}
			mustWrite(t, name, whole)
		}
		if _, err := Verify(t.Context(), path, &end); err != nil {
			t.Fatalf("after restoring the log: %v", err)
		}
	}
}

func TestVerifyNamesDamage(t *testing.T) {
	original := logPath(t)
	names, end := newRotatedLog(t, original, 5, 5, 5)
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	type files [3][][]byte // the lines of each file
	before := func(tb testing.TB, n int) *Checkpoint { c := checkpointBefore(tb, original, n); return &c }
	for _, tt := range []struct {
		name  string
		do    func(f *files)
		check *Checkpoint
		file  int
		line  int
		why   string
	}{
		{"a changed name", func(f *files) { f[1][2] = bytes.Replace(f[1][2], []byte("db-"), []byte("DB-"), 1) }, nil,
			1, 4, "line 9 of the log does not have the hash of line 8: one of the two was changed"},
		{"a changed last line of a file", func(f *files) { f[0][4] = bytes.Replace(f[0][4], []byte("db-"), []byte("DB-"), 1) }, nil,
			1, 1, "line 6 of the log does not have the hash of line 5"},
		{"a changed last line", func(f *files) { f[2][4] = bytes.Replace(f[2][4], []byte("db-"), []byte("DB-"), 1) }, &end,
			2, 5, "instead of the checkpoint's"},
		{"a removed line", func(f *files) { f[1] = append(f[1][:2], f[1][3:]...) }, nil, 1, 3, "line 7 of the log is followed by line 9"},
		{"a removed first line of a file", func(f *files) { f[1] = f[1][1:] }, nil, 1, 1, "line 5 of the log is followed by line 7"},
		{"a removed last line of a file", func(f *files) { f[0] = f[0][:4] }, nil, 1, 1, "line 4 of the log is followed by line 6"},
		{"a removed file", func(f *files) { f[1] = nil }, nil, 2, 1, "line 5 of the log is followed by line 11"},
		{"the last file removed", func(f *files) { f[2] = nil }, &end, 1, 5, "the log ends at line 10, before the checkpoint's line 15: its end was removed"},
		{"a truncated end", func(f *files) { f[2] = f[2][:3] }, &end, 2, 3, "the log ends at line 13, before the checkpoint's line 15"},
		{"all lines but the last removed", func(f *files) { f[0], f[1], f[2] = nil, nil, f[2][4:] }, before(t, 3),
			-1, 0, "the log starts at line 15, after the checkpoint's line 3"},
		{"two swapped lines", func(f *files) { f[1][1], f[1][2] = f[1][2], f[1][1] }, nil, 1, 2, "line 6 of the log is followed by line 8"},
		{"a duplicated line", func(f *files) { f[1] = append(f[1][:2:2], f[1][1:]...) }, nil, 1, 3, "line 7 of the log is followed by line 7: it was inserted or moved"},
		{"an old line inserted", func(f *files) { f[2][1] = f[0][2] }, nil, 2, 2, "line 11 of the log is followed by line 3"},
		{"a duplicated file", func(f *files) { f[2] = f[1] }, nil, 1, 1, "line 10 of the log is followed by line 6"},
		{"a forged line inserted", func(f *files) {
			seventh, head := f[1][1], checkpointBefore(t, original, 6)
			forged, _ := appendLine(nil, head, []byte(goodBody))
			f[1] = append([][]byte{f[1][0], forged, seventh}, f[1][2:]...)
		}, nil, 1, 3, "line 7 of the log is followed by line 7"},
		{"a forged line instead", func(f *files) {
			f[1][1], _ = appendLine(nil, checkpointBefore(t, original, 6), []byte(goodBody))
		}, nil, 1, 3, "one of the two was changed"},
		{"a foreign line", func(f *files) { f[1][1] = []byte("hello\n") }, nil, 1, 2, "not a line of an audit log"},
		{"an empty line", func(f *files) { f[1] = append(f[1], []byte("\n")) }, nil, 1, 6, "not a line of an audit log"},
		{"a torn file in the middle", func(f *files) { f[1][4] = f[1][4][:50] }, nil, 1, 5, "the file ends with a partial line"},
		{"a foreign file", func(f *files) { f[0] = [][]byte{[]byte("hello\n")} }, nil, 0, 1, "not a line of an audit log"},
		{"a file without lines", func(f *files) { f[0] = [][]byte{[]byte("hello")} }, nil, 0, 1, "not a line of an audit log"},
		{"zeros", func(f *files) { clear(f[1][2]) }, nil, 1, 3, "not a line of an audit log"},
		{"a first line with a previous hash", func(f *files) {
			f[0][0] = bytes.Replace(f[0][0], []byte(`"prev":"00`), []byte(`"prev":"01`), 1)
		}, nil, 0, 1, "line 1 of the log has the hash of a previous line"},
		{"a last record that is not JSON", func(f *files) {
			f[2][4] = bytes.Replace(f[2][4], []byte(`"action":`), []byte(`"action" `), 1)
		}, nil, 2, 5, "read record"},
		{"a line without end", func(f *files) {
			f[0] = [][]byte{bytes.Repeat([]byte("x"), maxLine+1<<20)}
		}, nil, 0, 1, "longer than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := copyLog(t, original)
			var f files
			for i, name := range names {
				f[i] = bytes.SplitAfter(mustRead(t, filepath.Join(filepath.Dir(path), name)), []byte{'\n'})
				f[i] = f[i][:len(f[i])-1]
			}
			tt.do(&f)
			for i, name := range names {
				name = filepath.Join(filepath.Dir(path), name)
				if f[i] == nil {
					if err := os.Remove(name); err != nil {
						t.Fatal(err)
					}
					continue
				}
				mustWrite(t, name, bytes.Join(f[i], nil))
			}
			_, err := Verify(t.Context(), path, tt.check)
			file := path
			if tt.file >= 0 {
				file = names[tt.file]
			}
			wantDamage(t, err, file, tt.line, tt.why)
			if tt.check != nil && !errors.Is(err, ErrCheckpoint) {
				t.Errorf("%v is not ErrCheckpoint", err)
			}
			if tt.check != nil && strings.HasPrefix(tt.why, "the") {
				if _, err := Verify(t.Context(), path, nil); err != nil {
					t.Errorf("without the checkpoint: %v", err)
				}
			}
		})
	}
}

func TestVerifyTornEnd(t *testing.T) {
	path := logPath(t)
	newRotatedLog(t, path, 2, 2)
	torn := []byte(`{"seq":5,"prev"`)
	mustWrite(t, path, append(mustRead(t, path), torn...))
	if report, err := Verify(t.Context(), path, nil); err != nil || report.Torn != int64(len(torn)) || report.Lines != 4 {
		t.Errorf("got %+v, %v", report, err)
	}
	mustWrite(t, path, torn)
	if report, err := Verify(t.Context(), path, nil); err != nil || report.Torn != int64(len(torn)) || report.Lines != 2 {
		t.Errorf("without a whole line: got %+v, %v", report, err)
	}
}

func TestVerifyPackedFiles(t *testing.T) {
	path := logPath(t)
	names, end := newRotatedLog(t, path, 300, 3, 3)
	gzipFile(t, names[0])
	gzipFile(t, names[1])
	if report, err := Verify(t.Context(), path, &end); err != nil || report.Lines != 306 || report.Files != 3 {
		t.Fatalf("got %+v, %v", report, err)
	}
	b := mustRead(t, names[0]+".gz")
	mustWrite(t, names[0]+".gz", b[:len(b)/2])
	if _, err := Verify(t.Context(), path, &end); err == nil {
		t.Error("half a compressed file was not detected")
	}
	b[len(b)/2] ^= 1
	mustWrite(t, names[0]+".gz", b)
	if _, err := Verify(t.Context(), path, &end); err == nil {
		t.Error("a changed compressed file was not detected")
	}
}

func TestVerifyReadsOnlyItsFiles(t *testing.T) {
	path := logPath(t)
	newRotatedLog(t, path, 2, 2)
	for _, suffix := range []string{"x", ".bak", "-old", ".", "2"} {
		mustWrite(t, path+suffix, []byte("something else\n"))
	}
	if err := os.Mkdir(path+"-1", 0o700); err != nil {
		t.Fatal(err)
	}
	if report, err := Verify(t.Context(), path, nil); err != nil || report.Files != 2 {
		t.Errorf("got %+v, %v", report, err)
	}
	mustWrite(t, path+".1", []byte("something else\n"))
	_, err := Verify(t.Context(), path, nil)
	wantDamage(t, err, path+".1", 1, "not a line of an audit log")
}
