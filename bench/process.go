package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server started by this command.
type process struct {
	name    string
	url     string
	cmd     *exec.Cmd
	exited  chan struct{} // closed when it has exited
	logFile string
}

const startTimeout = 2 * time.Minute

// start runs a program in its own folder and environment. The program must
// serve HTTP at url.
func start(name, folder, url string, env []string, program string, args ...string) (*process, error) {
	p := &process{name: name, url: url, exited: make(chan struct{}), logFile: filepath.Join(folder, "log")}
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...) // stop ends it
	p.cmd.Dir = folder
	p.cmd.Env = append([]string{"HOME=" + folder, "PATH=" + os.Getenv("PATH")}, env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // its log shows how it ended
		close(p.exited)
	}()
	return p, nil
}

// await returns when the server answers a request with status 200.
func (p *process) await(ctx context.Context, path string, header http.Header) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if status, err := probe(ctx, p.url+path, header); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s exited at once:\n%s", p.name, p.lastLines())
		case <-ctx.Done():
			p.stop()
			return fmt.Errorf("%s does not answer: %w\n%s", p.name, ctx.Err(), p.lastLines())
		case <-time.After(time.Millisecond):
		}
	}
}

func probe(ctx context.Context, url string, header http.Header) (status int, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	q.Header = header.Clone()
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err
	}
	return r.StatusCode, r.Body.Close()
}

// stop stops the server, as an operator would.
func (p *process) stop() { p.end(syscall.SIGTERM) }

// kill kills the server, as a crash would.
func (p *process) kill() { p.end(syscall.SIGKILL) }

func (p *process) end(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal) // it may have exited
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

func (p *process) lastLines() string {
	b, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// memory is the memory of a process, in bytes.
type memory struct {
	resident int64
	peak     int64 // since the last reset
}

func (p *process) memory() (m memory, err error) {
	b, err := os.ReadFile(p.proc("status"))
	if err != nil {
		return m, fmt.Errorf("read the memory of %s: %w", p.name, err)
	}
	return parseStatus(b)
}

func parseStatus(status []byte) (m memory, err error) {
	fields := map[string]*int64{"VmRSS": &m.resident, "VmHWM": &m.peak}
	found := 0
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		field := fields[name]
		if field == nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return m, fmt.Errorf("%s: %w", name, err)
		}
		*field, found = n<<10, found+1
	}
	if found != len(fields) {
		return m, fmt.Errorf("VmRSS or VmHWM is missing")
	}
	return m, nil
}

// resetPeak resets the peak of memory.
func (p *process) resetPeak() error { return os.WriteFile(p.proc("clear_refs"), []byte("5"), 0) }

func (p *process) proc(file string) string {
	return filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), file)
}

// freeAddress returns an unused address.
func freeAddress() (string, error) {
	all, err := freeAddresses(1)
	if err != nil {
		return "", err
	}
	return all[0], nil
}

// freeAddresses returns different unused addresses. Their ports are below the range that
// systems assign to connections and to servers without a fixed port, so that they are
// still free when a server restarts.
func freeAddresses(n int) (all []string, err error) {
	for range 20 * n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(6_000)))
		if err != nil {
			continue // another one may be free
		}
		defer l.Close()
		if all = append(all, l.Addr().String()); len(all) == n {
			return all, nil
		}
	}
	return nil, fmt.Errorf("only %d of %d ports were found free", len(all), n)
}
