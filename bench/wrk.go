package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// wrk generates the load, because it uses the least CPU time, which the
// servers need.

//go:embed requests.lua
var requestsScript string

// target is a kind of request to one server.
type target struct {
	url     string // the server's URL
	method  string
	path    string            // may contain %s for an organization, then %s for a name
	header  map[string]string // including credentials
	body    string            // if not empty, contains %s for a name, then %s for a value
	orgs    []string          // to choose from
	names   int               // to choose from
	clients int
	reads   float64       // share of requests that are a GET of the path instead
	pause   time.Duration // between a client's requests
}

// sample is the result of one load.
type sample struct {
	requests int
	rate     float64 // requests a second
	mean     time.Duration
	p50, p99 time.Duration
}

// load makes wrk send requests for a given time. Refused and unanswered
// requests are errors, because a server that refuses is fast. If no request is
// answered, load repeats with more time, until it is clear that the server is
// that slow.
func (b *bench) load(ctx context.Context, t target, d time.Duration) (sample, error) {
	for ; ; d *= 5 {
		s, err := b.run(ctx, b.prepare(t), d)
		if !errors.Is(err, errNoAnswer) {
			return s, err
		}
		b.say("  %s %s with %d clients: no request was answered in %v", t.method, t.path, t.clients, d)
		if d >= patience {
			b.report.note("**%s %s with %d clients: no request was answered in %v.**", t.method, t.path, t.clients, d)
			return sample{mean: d, p50: d, p99: d}, nil
		}
	}
}

const patience = 10 * time.Second

var errNoAnswer = errors.New("no request was answered")

// numbered is a target with a number that is unique in this run, so that its
// load writes unique values. Loads are prepared by one goroutine and can be
// run by several.
type numbered struct {
	target
	number int
}

func (b *bench) prepare(t target) numbered {
	b.serial++
	return numbered{t, b.serial}
}

// runBeside is run for a load beside others, which isn't repeated. If a short one is too
// short for an answer, its rate is 0, and its times are the least that they can have been.
func (b *bench) runBeside(ctx context.Context, t numbered, d time.Duration) (sample, error) {
	s, err := b.run(ctx, t, d)
	if errors.Is(err, errNoAnswer) && d < patience {
		return sample{mean: d, p50: d, p99: d}, nil
	}
	return s, err
}

func (b *bench) run(ctx context.Context, t numbered, d time.Duration) (s sample, err error) {
	file := filepath.Join(b.folder, fmt.Sprintf("load-%d.lua", t.number))
	if err := os.WriteFile(file, []byte(t.script(t.number)), 0o600); err != nil { // it contains a token
		return s, err
	}
	defer func() { err = errors.Join(err, os.Remove(file)) }()
	seconds := int(math.Ceil(d.Seconds()))
	cmd := exec.CommandContext(ctx, "wrk", "--threads", strconv.Itoa(min(t.clients, 2)), "--connections", strconv.Itoa(t.clients),
		"--duration", fmt.Sprintf("%ds", seconds), "--timeout", "60s", "--script", file, t.url)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return s, err
	}
	if time.Duration(seconds)*time.Second != d {
		go interruptAfter(ctx, cmd.Process, d)
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return s, context.Cause(ctx)
	}
	if err != nil {
		return s, fmt.Errorf("wrk: %w\n%s%s", err, stdout.Bytes(), stderr.Bytes())
	}
	if s, err = parseWrk(stdout.Bytes()); err != nil {
		return s, fmt.Errorf("%s %s with %d clients: %w", t.method, t.path, t.clients, err)
	}
	return s, nil
}

// interruptAfter interrupts wrk, whose durations are whole seconds, after d.
// wrk still prints its report, once it handles the signal; until it does, the
// interrupt waits.
func interruptAfter(ctx context.Context, p *os.Process, d time.Duration) {
	for !catchesInterrupt(p.Pid) {
		if ctx.Err() != nil || p.Signal(syscall.Signal(0)) != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(d)
	_ = p.Signal(syscall.SIGINT)
}

// catchesInterrupt finds out from /proc whether a process handles SIGINT.
func catchesInterrupt(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), "\nSigCgt:")
	mask, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	caught, err := strconv.ParseUint(mask, 16, 64)
	return err == nil && caught&(1<<(syscall.SIGINT-1)) != 0
}

// script returns requests.lua, preceded by the parameters.
func (t target) script(run int) string {
	host := strings.TrimPrefix(t.url, "http://")
	var b strings.Builder
	fmt.Fprintf(&b, "load = {\n method = %s, path = %s, body = %s, host = %s,\n", lua(t.method), lua(t.path), lua(t.body), lua(host))
	fmt.Fprintf(&b, " names = %d, run = %d, reads = %g, pause = %d,\n headers = {", max(t.names, 1), run, t.reads, t.pause.Milliseconds())
	for _, name := range slices.Sorted(maps.Keys(t.header)) {
		fmt.Fprintf(&b, " [%s] = %s,", lua(name), lua(t.header[name]))
	}
	b.WriteString(" },\n orgs = {")
	orgs := t.orgs
	if len(orgs) == 0 {
		orgs = []string{""}
	}
	for _, org := range orgs {
		fmt.Fprintf(&b, " %s,", lua(org))
	}
	b.WriteString(" },\n}\n")
	b.WriteString(requestsScript)
	return b.String()
}

// lua formats a string as a Lua literal.
func lua(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\%03d`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// parseWrk finds the line from requests.lua in wrk's output.
func parseWrk(out []byte) (s sample, err error) {
	var r struct {
		Requests, Microseconds                int
		Connect, Read, Write, Status, Timeout int
		Mean                                  float64
		P50, P99                              int
	}
	_, rest, found := bytes.Cut(out, []byte("\nbench "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	if !found {
		return s, fmt.Errorf("wrk printed no report:\n%s", out)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return s, fmt.Errorf("wrk's report: %w\n%s", err, line)
	}
	if failed := r.Connect + r.Read + r.Write + r.Status + r.Timeout; failed > 0 {
		return s, fmt.Errorf("%d of %d requests failed: %s", failed, r.Requests, line)
	}
	if r.Requests == 0 || r.Microseconds <= 0 {
		return s, errNoAnswer
	}
	us := func(n float64) time.Duration { return time.Duration(n * float64(time.Microsecond)) }
	return sample{
		requests: r.Requests, rate: float64(r.Requests) / (float64(r.Microseconds) / 1e6),
		mean: us(r.Mean), p50: us(float64(r.P50)), p99: us(float64(r.P99)),
	}, nil
}
