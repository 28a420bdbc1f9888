package integrity

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// TestLogFormat writes a log and a manifest in each of Pebble's formats, and
// reads them with scanRecords, which relies on Pebble's source alone.
func TestLogFormat(t *testing.T) {
	const known = pebble.FormatValueSeparation
	if pebble.FormatNewest != known {
		t.Errorf("Pebble has new formats, %d to %d: find out what they change in logs and manifests, and raise known",
			known+1, pebble.FormatNewest)
	}
	for version := pebble.FormatMinSupported; version <= pebble.FormatNewest; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: version, MemTableSize: 8 << 20, Logger: silent{}})
			if err != nil {
				t.Fatal(err)
			}
			const changes = 30
			for i := range changes {
				// Some cross blocks; none ends in a zero.
				value := bytes.Repeat([]byte{byte(i + 1)}, 1+i*i*80)
				if err := db.Set(fmt.Appendf(nil, "%02d", i), value, pebble.Sync); err != nil {
					t.Fatal(err)
				}
			}
			path, number := newestLog(t, dir)
			crashed, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}

			crashed = bytes.TrimRight(crashed, "\x00")
			format := 1
			if version >= pebble.FormatWALSyncChunks {
				format = 2
			}
			if got := (int(crashed[6]) - 1) / 4; got != format {
				t.Errorf("the log has chunks of format %d, want %d", got, format)
			}
			want := scanResult{end: int64(len(crashed)), resumes: -1}
			if got := scan(t, crashed, number); got != want {
				t.Errorf("log after a crash: %+v, want %+v", got, want)
			}
			for i := 0; i < len(crashed)/2; i += 997 {
				crashed[i] ^= 4
				got := scan(t, crashed, number)
				crashed[i] ^= 4
				if got.end > int64(i) || got.resumes <= got.end {
					t.Errorf("log damaged at %d: %+v", i, got)
				}
			}

			closed, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want.closed = true
			if got := scan(t, closed, number); got != want {
				t.Errorf("closed log: %+v, want %+v", got, want)
			}

			manifests, err := filepath.Glob(filepath.Join(dir, ManifestPrefix+"*"))
			if err != nil || len(manifests) == 0 {
				t.Fatalf("no manifest: %v", err)
			}
			manifest, err := os.ReadFile(slices.Max(manifests))
			if err != nil {
				t.Fatal(err)
			}
			want = scanResult{end: int64(len(bytes.TrimRight(manifest, "\x00"))), resumes: -1}
			if got := scan(t, manifest, 0); got.end < want.end || got.end == 0 || got.resumes != -1 {
				t.Errorf("manifest: %+v, want %+v", got, want)
			}
		})
	}
}

func scan(t *testing.T, content []byte, log uint64) scanResult {
	t.Helper()
	res, err := scanRecords(bytes.NewReader(content), log)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func newestLog(t *testing.T, dir string) (path string, number uint64) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*"+LogSuffix))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no log: %v", err)
	}
	path = slices.Max(logs)
	number, ok := LogNumber(filepath.Base(path))
	if !ok {
		t.Fatalf("%s is not a log", path)
	}
	return path, number
}
