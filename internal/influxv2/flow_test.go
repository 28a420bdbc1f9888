package influxv2_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// The flows in testdata are the responses of an InfluxDB OSS 2.x server
// (branch main-2.x, commit 85b84f4), step by step, to a fresh server's first
// requests. Where a response is a defect, "instead" has the one to send.

type flow struct {
	Name  string `json:"flow"`
	Steps []step `json:"steps"`
}

type step struct {
	Name    string `json:"name"`
	Request struct {
		Method     string            `json:"method"`
		Target     string            `json:"target"`
		Headers    map[string]string `json:"headers"`
		Body       *string           `json:"body"`
		BodyBase64 []byte            `json:"body_base64"`
		BodyRepeat *struct {
			Prefix, Unit, Suffix string
			Times                int
		} `json:"body_repeat"`
	} `json:"request"`
	Capture  map[string]string `json:"capture"`
	Response struct {
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	} `json:"response"`
	Check   string         `json:"check"`
	Fields  map[string]any `json:"fields"`
	Instead *struct {
		Status  int       `json:"status"`
		Code    string    `json:"code"`
		Allow   bool      `json:"allow"`
		Secrets *[]string `json:"secrets"`
	} `json:"instead"`
}

type answer struct {
	status int
	header http.Header
	body   string
}

func flows(tb testing.TB) []flow {
	tb.Helper()
	files, err := filepath.Glob("testdata/flows/*.json")
	if err != nil || len(files) < 13 {
		tb.Fatalf("%d flows, %v", len(files), err)
	}
	var out []flow
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		var f flow
		if err := json.Unmarshal(data, &f); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		out = append(out, f)
	}
	return out
}

func TestFlows(t *testing.T) {
	for _, f := range flows(t) {
		t.Run(f.Name, func(t *testing.T) { replay(t, f, newAPI(t, &keeptest.Options{Fresh: true})) })
	}
}

// replay runs a flow against a server that isn't set up yet.
func replay(t *testing.T, f flow, handler http.Handler) {
	server := httptest.NewServer(handler)
	defer server.Close()
	vars := map[string]string{}
	for i, s := range f.Steps {
		got := s.send(t, server.Listener.Addr().String(), vars)
		s.capture(got, vars)
		if why := s.differs(got, vars); why != "" {
			t.Errorf("step %d, %s: %s %s: %s", i, s.Name, s.Request.Method, s.Request.Target, why)
		}
	}
}

// send writes the request verbatim, which net/http might refuse to send.
func (s *step) send(t *testing.T, address string, vars map[string]string) answer {
	t.Helper()
	q := &s.Request
	var body []byte
	switch {
	case q.BodyRepeat != nil:
		r := q.BodyRepeat
		body = []byte(r.Prefix + strings.Repeat(r.Unit, r.Times) + r.Suffix)
	case q.BodyBase64 != nil:
		body = q.BodyBase64
	case q.Body != nil:
		body = []byte(fill(*q.Body, vars))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", q.Method, fill(q.Target, vars), address)
	for name, value := range q.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", name, fill(value, vars))
	}
	if body != nil && q.Headers["Content-Length"] == "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	conn.Write(b.Bytes()) // the server may respond before reading everything
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: q.Method})
	if err != nil {
		t.Fatalf("%s: %v", s.Name, err)
	}
	defer resp.Body.Close()
	return answer{resp.StatusCode, resp.Header, readAll(t, resp.Body)}
}

func (s *step) capture(a answer, vars map[string]string) {
	for name, path := range s.Capture {
		if path == "cookie" {
			_, value, _ := strings.Cut(a.header.Get("Set-Cookie"), "=")
			vars[name], _, _ = strings.Cut(value, ";")
			continue
		}
		var v any
		if json.Unmarshal([]byte(a.body), &v) != nil {
			return
		}
		for key := range strings.SplitSeq(path, ".") {
			object, _ := v.(map[string]any)
			v = object[key]
		}
		vars[name] = fmt.Sprint(v)
	}
}

func (s *step) differs(got answer, vars map[string]string) string {
	if s.Instead != nil {
		return s.differsInstead(got)
	}
	if got.status != s.Response.Status {
		return fmt.Sprintf("status %d, want %d; body %s", got.status, s.Response.Status, got.body)
	}
	switch s.Check {
	case "status":
		return ""
	case "fields":
		var fields map[string]any
		if err := json.Unmarshal([]byte(got.body), &fields); err != nil {
			return err.Error()
		}
		for name, value := range s.Fields {
			if !reflect.DeepEqual(fields[name], value) {
				return fmt.Sprintf("%s is %v, want %v", name, fields[name], value)
			}
		}
		return ""
	}
	for name, value := range s.Response.Headers {
		if slices.Contains([]string{"set-cookie", "allow", "www-authenticate", "retry-after"}, name) {
			continue
		}
		if !pattern(value, vars).MatchString(got.header.Get(name)) {
			return fmt.Sprintf("header %s is %q, want %q", name, got.header.Get(name), value)
		}
	}
	if !pattern(s.Response.Body, vars).MatchString(got.body) && !sameItems(s.Response.Body, got.body, vars) {
		return fmt.Sprintf("body\n%s\nwant\n%s", got.body, s.Response.Body)
	}
	return ""
}

func (s *step) differsInstead(got answer) string {
	if got.status != s.Instead.Status {
		return fmt.Sprintf("status %d, want %d; body %s", got.status, s.Instead.Status, got.body)
	}
	if code := s.Instead.Code; code != "" {
		if h := got.header.Get("X-Platform-Error-Code"); h != code {
			return fmt.Sprintf("X-Platform-Error-Code is %q, want %q", h, code)
		}
		var body struct{ Code, Message string }
		if s.Request.Method == http.MethodHead { // has no body
			body.Code, body.Message = code, "-"
		} else if err := json.Unmarshal([]byte(got.body), &body); err != nil {
			return err.Error()
		}
		if body.Code != code || body.Message == "" {
			return fmt.Sprintf("body is %s, want the code %q and a message", got.body, code)
		}
	}
	if s.Instead.Allow && got.header.Get("Allow") == "" {
		return "no Allow header"
	}
	if s.Instead.Secrets != nil {
		var body struct{ Secrets []string }
		if err := json.Unmarshal([]byte(got.body), &body); err != nil {
			return err.Error()
		}
		if !slices.Equal(body.Secrets, *s.Instead.Secrets) {
			return fmt.Sprintf("secrets %v, want %v", body.Secrets, *s.Instead.Secrets)
		}
	}
	return ""
}

var (
	variable    = regexp.MustCompile(`\{\{([a-zA-Z0-9_]+)\}\}`)
	placeholder = regexp.MustCompile(`\{\{(any:)?([a-zA-Z0-9_]+)\}\}`)
)

// fill replaces variables in a request.
func fill(s string, vars map[string]string) string {
	return variable.ReplaceAllStringFunc(s, func(m string) string { return vars[m[2:len(m)-2]] })
}

// pattern converts an expected text to a regular expression.
func pattern(s string, vars map[string]string) *regexp.Regexp {
	any := map[string]string{
		"id":    `[0-9a-f]{16}`,
		"time":  `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)`,
		"token": `[A-Za-z0-9_\-]{86}==`,
		"hash":  `\$influxdb2-sha\d+\$[A-Za-z0-9_\-]+=*`,
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(s, -1) {
		b.WriteString(regexp.QuoteMeta(s[at:m[0]]))
		name := s[m[4]:m[5]]
		switch value, known := vars[name]; {
		case m[2] >= 0 && any[name] != "":
			b.WriteString(any[name])
		case m[2] < 0 && known:
			b.WriteString(regexp.QuoteMeta(value))
		default:
			b.WriteString(regexp.QuoteMeta("an unknown placeholder"))
		}
		at = m[1]
	}
	b.WriteString(regexp.QuoteMeta(s[at:]))
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

// sameItems compares lists in any order: they are ordered by ID, which is
// random.
func sameItems(want, got string, vars map[string]string) bool {
	var w, g map[string]json.RawMessage
	if json.Unmarshal([]byte(want), &w) != nil || json.Unmarshal([]byte(got), &g) != nil {
		return false
	}
	for _, key := range []string{"orgs", "users", "authorizations"} {
		var wants, gots []json.RawMessage
		if w[key] == nil || json.Unmarshal(w[key], &wants) != nil || json.Unmarshal(g[key], &gots) != nil {
			continue
		}
		if len(wants) != len(gots) || len(w) != len(g) || compact(w["links"]) != compact(g["links"]) && !pattern(compact(w["links"]), vars).MatchString(compact(g["links"])) {
			return false
		}
		for _, item := range wants {
			p := pattern(compact(item), vars)
			i := slices.IndexFunc(gots, func(g json.RawMessage) bool { return p.MatchString(compact(g)) })
			if i < 0 {
				return false
			}
			gots = slices.Delete(gots, i, i+1)
		}
		return true
	}
	return false
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return base64.StdEncoding.EncodeToString(raw)
	}
	return b.String()
}
