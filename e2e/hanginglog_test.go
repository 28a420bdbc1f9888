//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// unreadPipe is the program with its audit log, its own log, or both going into
// pipes that nobody reads.
type unreadPipe struct {
	t      *testing.T
	url    string
	cmd    *exec.Cmd
	exited chan error
	audit  *os.File // the end for reading
	log    *os.File
}

// smallPipe makes a pipe that takes one page.
func smallPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	const setPipeSize = 1031 // F_SETPIPE_SZ of Linux; elsewhere the pipe is larger
	_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, w.Fd(), setPipeSize, 4096)
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func startUnread(t *testing.T, args ...string) *unreadPipe {
	t.Helper()
	dir := t.TempDir()
	p := &unreadPipe{t: t, exited: make(chan error, 1)}
	auditRead, auditWrite := smallPipe(t)
	logRead, logWrite := smallPipe(t)
	p.audit, p.log = auditRead, logRead
	address := newAddress()
	p.url = "http://" + address
	p.cmd = exec.Command(program, append([]string{"serve", "--http-bind-address", address, "--data-dir", filepath.Join(dir, "data")}, args...)...)
	p.cmd.Env = append(cleanEnviron(), "HOME="+dir)
	p.cmd.Stdout, p.cmd.Stderr = auditWrite, logWrite
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	eventually(t, "server", func() bool { return p.get("/health") != 0 })
	return p
}

// get returns the status of an answer, 0 for none within two minutes.
func (p *unreadPipe) get(path string) int {
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return 0
	}
	return answer.StatusCode
}

// refused sends requests that are recorded one by one, several at a time.
func (p *unreadPipe) refused(times int) map[int]int {
	p.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	statuses := map[int]int{}
	for range times {
		wg.Go(func() {
			status := p.get("/api/v2/me")
			mu.Lock()
			statuses[status]++
			mu.Unlock()
		})
	}
	wg.Wait()
	return statuses
}

func (p *unreadPipe) end() {
	p.t.Helper()
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.exited:
		p.t.Logf("the process ended %v after SIGTERM", time.Since(begin))
	case <-time.After(time.Minute):
		p.t.Error("a minute after SIGTERM the process has not ended")
	}
}

// TestUnreadAuditLog writes the audit log into a pipe that nobody reads. Every
// request gets 503, the health and metrics say so, and service comes back by
// itself when the pipe is read. SIGTERM ends the server all the same.
func TestUnreadAuditLog(t *testing.T) {
	long(t, "waits for time limits")
	t.Parallel()
	p := startUnread(t, "--audit-log", "-")
	go io.Copy(io.Discard, p.log) // until the process ends
	for _, round := range []string{"first", "second"} {
		eventually(t, "503", func() bool {
			statuses := p.refused(20)
			if statuses[0] > 0 {
				t.Fatalf("%s: requests get no answer: %v", round, statuses)
			}
			return statuses[http.StatusServiceUnavailable] > 0
		})
		if health, metrics := p.get("/health"), p.get("/metrics"); health != http.StatusServiceUnavailable || metrics != http.StatusOK {
			t.Errorf("%s: the health is %d and the metrics are %d", round, health, metrics)
		}
		if round == "second" {
			break
		}
		stop := make(chan struct{})
		var read bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			for b := make([]byte, 64<<10); ; {
				n, err := p.audit.Read(b)
				read.Write(b[:n])
				select {
				case <-stop:
					return
				default:
				}
				if err != nil {
					return
				}
			}
		}()
		eventually(t, "health", func() bool { return p.get("/health") == http.StatusOK })
		close(stop)
		eventually(t, "a refusal", func() bool { p.refused(1); return isClosed(done) })
		lines := strings.SplitAfter(read.String(), "\n")
		for i, line := range lines[:len(lines)-1] {
			var record struct{ Seq int }
			if err := json.Unmarshal([]byte(line), &record); err != nil || record.Seq != i+1 {
				t.Fatalf("line %d is %q, %v", i+1, line, err)
			}
		}
	}
	p.end()
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestUnreadLog writes the server's own log into a pipe that nobody reads, which
// no request notices.
func TestUnreadLog(t *testing.T) {
	t.Parallel()
	p := startUnread(t, "--log-level", "debug")
	for range 20 {
		if statuses := p.refused(20); statuses[http.StatusUnauthorized] != 20 {
			t.Fatalf("the answers are %v", statuses)
		}
	}
	p.end()
}
