package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestParseStatus(t *testing.T) {
	const status = "Name:\tfluxkeep\nVmPeak:\t 2000 kB\nVmHWM:\t   1500 kB\nVmRSS:\t    1000 kB\nThreads:\t9\n"
	if m, err := parseStatus([]byte(status)); err != nil || m != (memory{1000 << 10, 1500 << 10}) {
		t.Errorf("got %+v, %v", m, err)
	}
	for _, bad := range []string{"", strings.Replace(status, "VmRSS", "Other", 1), strings.Replace(status, "1500", "many", 1)} {
		if m, err := parseStatus([]byte(bad)); err == nil {
			t.Errorf("no error for %q: %+v", bad, m)
		}
	}
}

func TestParseMetrics(t *testing.T) {
	const metrics = `# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 63
process_open_fds 17
process_resident_memory_bytes 5.1511296e+07
process_resident_memory_bytes_other 1
`
	if p, err := parseMetrics(metrics); err != nil || p != (point{memory: 51511296, goroutines: 63, descriptors: 17}) {
		t.Errorf("got %+v, %v", p, err)
	}
	for _, bad := range []string{"", strings.Replace(metrics, "\ngo_goroutines", "\nother", 1), strings.Replace(metrics, " 17", " x", 1)} {
		if p, err := parseMetrics(bad); err == nil {
			t.Errorf("no error for %q: %+v", bad, p)
		}
	}
}

func TestQuarter(t *testing.T) {
	var points []point
	for i := range 8 {
		points = append(points, point{memory: float64(i)})
	}
	for n, want := range map[int]float64{1: 0.5, 2: 2.5, 4: 6.5} {
		if got := quarter(points, n, func(p point) float64 { return p.memory }); got != want {
			t.Errorf("quarter %d: %v, want %v", n, got, want)
		}
	}
}

func TestMountedAt(t *testing.T) {
	const mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmp/disk xfs rw 0 0\nbroken\n"
	for folder, want := range map[string]string{
		"/home/a": "ext4", "/tmp": "tmpfs", "/tmp/a": "tmpfs", "/tmpfs": "ext4", "/tmp/disk": "xfs", "/tmp/disk/a/b": "xfs", "/tmp/disks": "tmpfs",
	} {
		if got := mountedAt(mounts, folder); got != want {
			t.Errorf("%s is in %s, want %s", folder, got, want)
		}
	}
}

func TestParseFlags(t *testing.T) {
	c, err := parseFlags([]string{"-only", "kv,growth", "-quick"}, io.Discard)
	if err != nil || len(c.only) != 2 || c.rounds != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
	for _, bad := range []string{"-only lists", "-rounds 0", "-duration 0s", "extra", "-nothing"} {
		var stderr bytes.Buffer
		if c, err := parseFlags(strings.Fields(bad), &stderr); err == nil {
			t.Errorf("no error for %s: %+v", bad, c)
		}
	}
}
