package vaultkv_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// flow is a sequence of requests with a real server's responses.
type flow struct {
	Flow  string
	Steps []struct {
		Name    string
		Request struct {
			Method, Target, Body string
			Headers              map[string]string
		}
		Capture  map[string]string
		Check    string // "json" or "status"
		Response recorded
		Instead  *recorded // the response that replaces a defect
	}
}

type recorded struct {
	Status int
	Body   string
}

// TestFlows replays responses of OpenBao 2.5.5.
func TestFlows(t *testing.T) {
	eachFlow(t, "*", replay)
}

// eachFlow runs fn as a subtest for each recorded flow whose name matches.
func eachFlow(t *testing.T, name string, fn func(*testing.T, *flow)) {
	files, err := filepath.Glob("testdata/flows/" + name + ".json")
	if err != nil || len(files) < 3 {
		t.Fatalf("flows: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var f flow
			if err := json.Unmarshal(data, &f); err != nil {
				t.Fatal(err)
			}
			fn(t, &f)
		})
	}
}

func replay(t *testing.T, f *flow) {
	s := newServer(t, &keeptest.Options{Fresh: true})
	vars := map[string]string{}
	for i, step := range f.Steps {
		where := fmt.Sprintf("step %d, %s", i, step.Name)
		if i == 0 {
			// InfluxDB's protocol is in another package, so use the domain.
			r, err := s.Setup(t.Context(), keep.Anonymous(keeptest.Origin(keep.InfluxDB)), keep.SetupRequest{
				User: "admin", Password: "correct horse 1", Org: "acme", Bucket: "b0",
			})
			if err != nil {
				t.Fatal(err)
			}
			vars["user"], vars["org"] = r.User.ID.String(), r.Org.ID.String()
			vars["token"], vars["authID"] = r.Token.Value, r.Token.ID.String()
			continue
		}
		q := httptest.NewRequest(step.Request.Method, fill(step.Request.Target, vars), strings.NewReader(fill(step.Request.Body, vars)))
		for name, value := range step.Request.Headers {
			q.Header.Set(name, fill(value, vars))
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, q)
		if q.Method == http.MethodHead {
			w.Body.Reset() // as the server does
		}
		want := step.Response
		if step.Instead != nil {
			want = recorded{Status: step.Instead.Status}
		}
		if w.Code != want.Status {
			t.Errorf("%s: status %d, want %d: %s", where, w.Code, want.Status, w.Body)
			continue
		}
		switch {
		case step.Instead != nil:
			if w.Code >= http.StatusBadRequest && !strings.HasPrefix(w.Body.String(), `{"errors":[`) {
				t.Errorf("%s: %s is not an error", where, w.Body)
			}
		case step.Check == "json":
			if err := same(want.Body, w.Body.String(), vars); err != nil {
				t.Errorf("%s: %v", where, err)
			}
		case step.Check != "status":
			t.Fatalf("%s: unknown check %q", where, step.Check)
		}
	}
}

var variable = regexp.MustCompile(`\{\{(any:)?([a-zA-Z0-9_]+)\}\}`)

func fill(s string, vars map[string]string) string {
	return variable.ReplaceAllStringFunc(s, func(v string) string { return vars[strings.Trim(v, "{}")] })
}

// same describes how a response differs from the recorded one, which may have
// fewer fields.
func same(want, got string, vars map[string]string) error {
	if want == "" {
		if got != "" {
			return fmt.Errorf("body %q, want none", got)
		}
		return nil
	}
	var w, g any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		return fmt.Errorf("body %q: %w", got, err)
	}
	return covers(w, g, vars, "$")
}

func covers(want, got any, vars map[string]string, at string) error {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %v, want an object", at, got)
		}
		if at == "$.data.data" && len(g) != len(want) {
			return fmt.Errorf("%s is %v, want %v", at, g, want)
		}
		for name, value := range want {
			name = fill(name, vars)
			if _, ok := g[name]; !ok {
				return fmt.Errorf("%s.%s is missing", at, name)
			}
			if err := covers(value, g[name], vars, at+"."+name); err != nil {
				return err
			}
		}
		return nil
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return fmt.Errorf("%s is %v, want %v", at, got, want)
		}
		for i := range want {
			if err := covers(want[i], g[i], vars, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
		return nil
	case string:
		if g, ok := got.(string); !ok || !pattern(want, vars).MatchString(g) {
			return fmt.Errorf("%s is %v, want %s", at, got, want)
		}
		return nil
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("%s is %v, want %v", at, got, want)
	}
	return nil
}

// pattern converts a recorded text to a regular expression.
func pattern(s string, vars map[string]string) *regexp.Regexp {
	various := map[string]string{
		"uuid": `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`,
		"time": `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`,
	}
	var b strings.Builder
	b.WriteString(`^`)
	last := 0
	for _, m := range variable.FindAllStringSubmatchIndex(s, -1) {
		b.WriteString(regexp.QuoteMeta(s[last:m[0]]))
		if name := s[m[4]:m[5]]; m[2] >= 0 {
			b.WriteString(various[name])
		} else {
			b.WriteString(regexp.QuoteMeta(vars[name]))
		}
		last = m[1]
	}
	b.WriteString(regexp.QuoteMeta(s[last:]) + `$`)
	return regexp.MustCompile(b.String())
}
