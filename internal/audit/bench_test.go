//go:build unix

package audit

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// benchRecord makes a line of about 300 bytes, not counting number and hash.
func benchRecord() Record {
	return Record{
		ID: NewIDs().Next(), Time: testTime, Action: "secrets.read", Outcome: Allowed,
		Organization: "0a1b2c3d4e5f6071", User: "0b1b2c3d4e5f6071", Token: "0c1b2c3d4e5f6071",
		Protocol: "vault", Remote: "192.0.2.7:51234", Request: "req-1", Version: 17, Names: []string{"db-password"},
	}
}

func BenchmarkRecordAppend(b *testing.B) {
	r := benchRecord()
	var buf []byte
	b.ReportAllocs()
	reportCPU(b)
	for b.Loop() {
		buf = r.Append(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "bytes")
}

// reportCPU reports the CPU time per operation, which is more reliable than
// elapsed time on a busy machine.
func reportCPU(b *testing.B) {
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := cpu()
	b.Cleanup(func() { b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op") })
}

// nowhere discards writes, leaving only the cost of the log.
type nowhere struct{ FS }

type nowhereFile struct{ File }

func (n nowhere) Open(path string, flag int) (File, error) {
	f, err := n.FS.Open(path, flag)
	return nowhereFile{f}, err
}

func (nowhereFile) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkAppend appends from several goroutines, to a file and to nowhere.
func BenchmarkAppend(b *testing.B) {
	body := benchRecord()
	line := body.Append(nil)
	for _, to := range []string{"file", "nowhere"} {
		for _, goroutines := range []int{1, 32} {
			b.Run(to+"/"+map[int]string{1: "1 goroutine", 32: "32 goroutines"}[goroutines], func(b *testing.B) {
				opts := &Options{MaxBytes: -1}
				if to == "nowhere" {
					opts.FS = nowhere{OS()}
				}
				l := mustOpen(b, logPath(b), opts)
				b.ReportAllocs()
				b.SetParallelism((goroutines + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
				reportCPU(b)
				b.ResetTimer()
				if goroutines == 1 {
					for range b.N {
						if err := l.Append(line); err != nil {
							b.Fatal(err)
						}
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := l.Append(line); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}

// BenchmarkWrite measures the system's share of BenchmarkAppend.
func BenchmarkWrite(b *testing.B) {
	f, err := os.OpenFile(filepath.Join(b.TempDir(), "file"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	r := benchRecord()
	line, _ := appendLine(nil, Checkpoint{Seq: 1e6}, r.Append(nil))
	reportCPU(b)
	for b.Loop() {
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	path := logPath(b)
	l := mustOpen(b, path, nil)
	r := benchRecord()
	line := r.Append(nil)
	for range 100_000 {
		if err := l.Append(line); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, l)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	reportCPU(b)
	for b.Loop() {
		if _, err := Verify(context.Background(), path, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart opens a log of 128 MiB and recovers from a checkpoint near
// its end, as every start does.
func BenchmarkStart(b *testing.B) {
	path := logPath(b)
	l := mustOpen(b, path, nil)
	r := benchRecord()
	r.Detail = strings.Repeat("x", 1000)
	line := r.Append(nil)
	for l.size < 120<<20 {
		if err := l.Append(line); err != nil {
			b.Fatal(err)
		}
	}
	since := mustSync(b, l)
	for range 1000 {
		if err := l.Append(line); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, l)
	id, _ := checkBody(line)
	reportCPU(b)
	for b.Loop() {
		l, err := Open(path, nil)
		if err != nil {
			b.Fatal(err)
		}
		n, err := l.Recover(since, func(yield func(ID, []byte) error) error { return yield(id, line) })
		if n != 0 || err != nil {
			b.Fatal(n, err)
		}
		l.Close()
	}
}
