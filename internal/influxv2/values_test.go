package influxv2_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

func valuesIn(tb testing.TB, w *httptest.ResponseRecorder) map[string]string {
	tb.Helper()
	var m map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || w.Code != 200 {
		tb.Errorf("status %d: %s", w.Code, w.Body)
	}
	return m
}

func (a *api) checkValues(tb testing.TB, want map[string]string) {
	tb.Helper()
	if got := a.MustValues(tb); !maps.Equal(got, want) {
		tb.Errorf("the secrets are %q, want %q", got, want)
	}
}

func TestValues(t *testing.T) {
	a := newAPI(t, nil)
	if got := valuesIn(t, a.do(t, "GET", a.secrets("/values"), "")); len(got) != 0 {
		t.Errorf("a new organization has %v", got)
	}
	all := map[string]string{"a": "1", "b": "", "c&<>": "\"\n€", "values": "x"}
	body, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	w := a.do(t, "PATCH", a.secrets("/values"), string(body))
	if w.Body.String() != "{\n\t\"version\": 1,\n\t\"changed\": true\n}" {
		t.Errorf("written: %s", w.Body)
	}
	if w = a.do(t, "PATCH", a.secrets("/values"), string(body)); w.Body.String() != "{\n\t\"version\": 1,\n\t\"changed\": false\n}" {
		t.Errorf("written again: %s", w.Body)
	}
	if got := valuesIn(t, a.do(t, "GET", a.secrets("/values"), "")); !maps.Equal(got, all) {
		t.Errorf("values %q", got)
	}
	if got := valuesIn(t, a.do(t, "GET", a.secrets("/values?name=b&name=nope&name=a&name=a"), "")); !maps.Equal(got, map[string]string{"a": "1", "b": ""}) {
		t.Errorf("chosen %q", got)
	}
	if got := valuesIn(t, a.do(t, "GET", a.secrets("/values?name="), "")); len(got) != 0 {
		t.Errorf("the empty name %q", got)
	}
	want(t, a.do(t, "DELETE", a.secrets("/values"), ""), 204, "")
	want(t, a.do(t, "PATCH", a.secrets("/values"), `{"a":null,"nope":null,"d":"4"}`), 200, "")
	a.checkValues(t, map[string]string{"b": "", "c&<>": "\"\n€", "d": "4"})
	want(t, a.do(t, "PUT", a.secrets("/values"), `{"b":"2"}`), 200, "")
	a.checkValues(t, map[string]string{"b": "2"})
	for method, bodies := range map[string][]string{
		"PUT":   {`{"b":null}`, `null`},
		"PATCH": {`null`, `{"b":1}`, `{"x":"1","":"x"}`, `{"b":"1","b":null}`},
	} {
		for _, body := range bodies {
			if w := a.do(t, method, a.secrets("/values"), body); w.Code != 400 {
				t.Errorf("%s %s: %d", method, body, w.Code)
			}
		}
	}
	a.checkValues(t, map[string]string{"b": "2"})
}

// TestValuesPermissions checks that the routes InfluxDB lacks use the same
// order of checks.
func TestValuesPermissions(t *testing.T) {
	a := newAPI(t, nil)
	a.MustChange(t, keep.Change{Set: map[string]string{"a": "1"}})
	reader := a.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(a.Org)}).Value
	writer := a.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(a.Org)[2:]}).Value // may not read the organization
	blind := append(keeptest.WriteSecrets(a.Org)[:1:1], keeptest.WriteSecrets(a.Org)[2])
	writeOnly := a.MustToken(t, keep.NewToken{Permissions: blind}).Value
	other := "/api/v2/orgs/0000000000000001/secrets"
	for _, c := range []struct {
		token, method, path, body string
		status                    int
	}{
		{reader, "GET", a.secrets("/values"), "", 200},
		{reader, "GET", a.secrets("/history"), "", 200},
		{reader, "PATCH", a.secrets("/values"), `{"a":"2"}`, 401},
		{reader, "PATCH", a.secrets("/values"), `bad`, 401}, // before the body is read
		{reader, "PUT", a.secrets("/values"), `{}`, 401},
		{reader, "POST", a.secrets("/rollback"), `{"version":1}`, 401},
		{reader, "POST", a.secrets("/dismiss"), `{"version":1}`, 401},
		{writeOnly, "GET", a.secrets("/values"), "", 401},
		{writeOnly, "GET", a.secrets("/values?wait=1m"), "", 401},
		{writeOnly, "GET", a.secrets("/history"), "", 401},
		{writeOnly, "POST", a.secrets("/rollback"), `{"version":1}`, 401},
		{writeOnly, "PATCH", a.secrets("/values"), `{"a":"2"}`, 200},
		{writer, "GET", a.secrets("/values"), "", 404},
		{writer, "GET", a.secrets("/values?wait=x"), "", 404},
		{writer, "PATCH", a.secrets("/values"), `{}`, 404},
		{writer, "PATCH", a.secrets("/values"), `bad`, 404},
		{writer, "GET", a.secrets("/history"), "", 404},
		{writer, "POST", a.secrets("/rollback"), `bad`, 404},
		{a.OperatorToken, "GET", other + "/values", "", 404},
		{a.OperatorToken, "PATCH", other + "/values", `bad`, 404},
		{a.OperatorToken, "GET", other + "/history", "", 404},
		{a.OperatorToken, "POST", other + "/rollback", `bad`, 404},
		{a.OperatorToken, "GET", "/api/v2/orgs/zz/secrets/values", "", 400},
	} {
		if w := a.do(t, c.method, c.path, c.body, "Authorization", "Token "+c.token); w.Code != c.status {
			t.Errorf("%s %s %s: %d, want %d: %s", c.method, c.path, c.body, w.Code, c.status, w.Body)
		}
	}
}

func TestETags(t *testing.T) {
	a := newAPI(t, nil)
	limited := "Token " + a.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(a.Org), Names: []string{"a*"}}).Value
	other := "Token " + a.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(a.Org), Names: []string{"b*"}}).Value
	views := map[string]string{} // the query of each ETag
	asked := [][]string{
		{a.secrets("/values"), "Token " + a.OperatorToken},
		{a.secrets("/values?name=a"), "Token " + a.OperatorToken},
		{a.secrets("/values?name=b"), "Token " + a.OperatorToken},
		{a.secrets("/values?name=a&name=b"), "Token " + a.OperatorToken},
		{a.secrets("/values?name=ab"), "Token " + a.OperatorToken},
		{a.secrets("/values"), limited},
		{a.secrets("/values"), other},
		{a.secrets("/values?name=a"), limited},
	}
	for version, body := range []string{``, `{"a":"1","b":"2"}`, `{"a":"2","b":"3"}`} {
		if body != "" {
			want(t, a.do(t, "PATCH", a.secrets("/values"), body), 200, "")
		}
		for _, q := range asked {
			w := a.do(t, "GET", q[0], "", "Authorization", q[1])
			tag := w.Header().Get("ETag")
			if before, seen := views[tag]; seen || tag == "" || w.Code != 200 {
				t.Errorf("version %d, %q: ETag %q, which is also that of %q", version, q, tag, before)
			}
			views[tag] = fmt.Sprint(version, q)
			for header, status := range map[string]int{
				tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, tag + `, "x"`: 304, "*": 304,
				`"x"`: 200, "x": 200, strings.Trim(tag, `"`): 200, `""`: 200, `"..-"`: 200,
			} {
				w := a.do(t, "GET", q[0], "", "Authorization", q[1], "If-None-Match", header)
				if w.Code != status || w.Header().Get("ETag") != tag || (status == 304) != (w.Body.Len() == 0) {
					t.Errorf("version %d, %q, If-None-Match %s: %d, ETag %q, %q", version, q, header, w.Code, w.Header().Get("ETag"), w.Body)
				}
			}
		}
	}
	same := a.do(t, "GET", a.secrets("/values?name=b&name=a&name=a"), "").Header().Get("ETag")
	if same != a.do(t, "GET", a.secrets("/values?name=a&name=b"), "").Header().Get("ETag") {
		t.Error("the order of names changed the ETag")
	}
	for tag := range views { // no older version matches now
		if w := a.do(t, "GET", a.secrets("/values"), "", "If-None-Match", tag); (w.Code == 304) != strings.HasPrefix(views[tag], fmt.Sprint(2, asked[0])) {
			t.Errorf("%s of %s: %d", tag, views[tag], w.Code)
		}
	}
}

func FuzzParseETag(f *testing.F) {
	for _, s := range []string{`"000000000000000a.1.1"`, `"a.1.1-0123"`, `""`, `"`, ``, `"..-"`, `a.b.c`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tag, view, ok := influxv2.ParseETag(s)
		if ok && view != "" && s != `"`+tag+`-`+view+`"` {
			t.Fatalf("%q: %q, %q", s, tag, view)
		}
	})
}

func TestIfMatch(t *testing.T) {
	a := newAPI(t, nil)
	tag := func() string { return a.do(t, "GET", a.secrets("/values"), "").Header().Get("ETag") }
	empty := tag()
	want(t, a.do(t, "PUT", a.secrets("/values"), `{"a":"x"}`, "If-Match", "*"), 412, "precondition failed")
	want(t, a.do(t, "PATCH", a.secrets("/values"), `{"a":"1"}`, "If-Match", empty), 200, "")
	first := tag()
	want(t, a.do(t, "PATCH", a.secrets("/values"), `{"a":"x"}`, "If-Match", empty), 412, "precondition failed")
	want(t, a.do(t, "PUT", a.secrets("/values"), `{"a":"2"}`, "If-Match", first), 200, "")
	want(t, a.do(t, "PUT", a.secrets("/values"), `{"a":"x"}`, "If-Match", first), 412, "precondition failed")
	want(t, a.do(t, "PATCH", a.secrets("/values"), `{"a":"3"}`, "If-Match", "*"), 200, "")
	chosen := a.do(t, "GET", a.secrets("/values?name=a"), "").Header().Get("ETag")
	w := a.do(t, "PATCH", a.secrets("/values"), `{"a":"4"}`, "If-Match", chosen)
	want(t, w, 200, "")
	if w.Header().Get("ETag") != tag() {
		t.Errorf("a write answers with ETag %q, a read with %q", w.Header().Get("ETag"), tag())
	}
	// The number alone doesn't identify the version.
	foreign := `"0000000000000001` + tag()[17:]
	want(t, a.do(t, "PATCH", a.secrets("/values"), `{"a":"x"}`, "If-Match", foreign), 412, "precondition failed")
	for _, header := range []string{"4", `"4"`, "W/" + tag(), tag() + `, "x"`, `"a.b"`, ""} {
		r := httptest.NewRequest("PATCH", a.secrets("/values"), strings.NewReader(`{"a":"x"}`))
		r.Header.Set("Authorization", "Token "+a.OperatorToken)
		r.Header["If-Match"] = []string{header}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		want(t, w, 400, keep.CodeInvalid)
	}
	a.checkValues(t, map[string]string{"a": "4"})

	// Of concurrent writers that read the same version, one may succeed.
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	now := tag()
	for i := range 4 {
		wg.Go(func() {
			w := a.do(t, "PATCH", a.secrets("/values"), fmt.Sprintf(`{"a":"by %d"}`, i), "If-Match", now)
			mu.Lock()
			statuses[w.Code]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if statuses[200] != 1 || statuses[412] != 3 {
		t.Errorf("statuses %v", statuses)
	}
}

func TestHistoryAndRollback(t *testing.T) {
	a := newAPI(t, nil)
	for _, body := range []string{`{"a":"1","b":"2"}`, `{"a":"3","b":null,"c":"4"}`} {
		want(t, a.do(t, "PATCH", a.secrets("/values"), body), 200, "")
	}
	want(t, a.do(t, "POST", a.secrets("/rollback"), `{"version":1}`), 200, "")
	a.checkValues(t, map[string]string{"a": "1", "b": "2"})
	w := a.do(t, "GET", a.secrets("/history"), "")
	var got struct {
		Versions []struct {
			Version, Count, RolledBackTo int
			UserID, TokenID, Protocol    string
			Added, Changed, Removed      []string
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Versions) != 3 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var lines []string
	for _, v := range got.Versions {
		lines = append(lines, fmt.Sprintf("%d %d %d %v %v %v %s", v.Version, v.Count, v.RolledBackTo, v.Added, v.Changed, v.Removed, v.Protocol))
		if v.UserID != a.Admin.String() || len(v.TokenID) != 16 {
			t.Errorf("version %d is by %q, %q", v.Version, v.UserID, v.TokenID)
		}
	}
	if want := "3 2 1 [b] [a] [c] influxdb|2 2 0 [c] [a] [b] influxdb|1 2 0 [a b] [] [] influxdb"; strings.Join(lines, "|") != want {
		t.Errorf("history %q\nwant    %q", lines, want)
	}
	if strings.Contains(w.Body.String(), "destroyed") || strings.Contains(w.Body.String(), "deletedAt") {
		t.Errorf("empty fields are shown: %s", w.Body)
	}
	for _, body := range []string{`{"version":0}`, `{"version":-1}`, `{"version":"1"}`} {
		want(t, a.do(t, "POST", a.secrets("/rollback"), body), 400, keep.CodeInvalid)
	}
	want(t, a.do(t, "POST", a.secrets("/dismiss"), `{"version":1}`), 404, keep.CodeNotFound)
}

// TestImports checks the limit on an organization's concurrent imports, and
// that one organization's imports don't block another's.
func TestImports(t *testing.T) {
	a := newAPI(t, nil)
	limits := &httpapi.Limits{
		Memory: httpapi.NewBudget(1<<30, 0), Imports: httpapi.NewBudget(64, 3), OrganizationImports: httpapi.NewBudget(64, 2),
	}
	send := func(path string, body io.Reader) *httptest.ResponseRecorder {
		x := &httpapi.Exchange{Limits: limits}
		defer x.Release()
		w, r := httptest.NewRecorder(), httptest.NewRequest("PATCH", path, body)
		r.Header.Set("Authorization", "Token "+a.OperatorToken)
		a.handler.ServeHTTP(w, r.WithContext(httpapi.WithExchange(r.Context(), x)))
		return w
	}
	var open []*io.PipeWriter
	var wg sync.WaitGroup
	for range 2 {
		pr, pw := io.Pipe()
		open = append(open, pw)
		wg.Go(func() { send(a.secrets("/values"), pr) })
		io.WriteString(pw, "{") // returns once it is being read
	}
	w := send(a.secrets("/values"), strings.NewReader(`{}`))
	want(t, w, 429, keep.CodeTooMany)
	if w.Header().Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
	other, err := a.CreateOrganization(t.Context(), a.Operator(t, keep.InfluxDB), "other", "")
	if err != nil {
		t.Fatal(err)
	}
	want(t, send("/api/v2/orgs/"+other.ID.String()+"/secrets/values", strings.NewReader(`{"k":"v"}`)), 200, "")
	for i, pw := range open {
		fmt.Fprintf(pw, `"k%d":"v"}`, i)
		pw.Close()
	}
	wg.Wait()
	want(t, send(a.secrets("/values"), strings.NewReader(`{"last":"v"}`)), 200, "")
	if got := a.MustValues(t); len(got) != 3 {
		t.Errorf("values %v", got)
	}
	if limits.Memory.Used() != 0 || limits.Imports.Used() != 0 || limits.OrganizationImports.Used() != 0 {
		t.Errorf("still held: %d bytes, %d and %d imports", limits.Memory.Used(), limits.Imports.Used(), limits.OrganizationImports.Used())
	}
}

// TestImportNames checks the limit on an organization's names.
func TestImportNames(t *testing.T) {
	a := newAPI(t, nil)
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range keep.MaxNames + 1 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%d":null`, i)
	}
	b.WriteByte('}')
	want(t, a.do(t, "PATCH", a.secrets("/values"), b.String()), 400, keep.CodeInvalid)
}

// poller sends requests to a real server, because waiting depends on
// connections.
type poller struct {
	*http.Server
	url, token string
}

func (c *poller) get(t *testing.T, path, tag string) (status int, body, etag string) {
	t.Helper()
	r, err := http.NewRequest("GET", c.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Token "+c.token)
	r.Header.Set("If-None-Match", tag)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, "", ""
	}
	defer resp.Body.Close()
	return resp.StatusCode, readAll(t, resp.Body), resp.Header.Get("ETag")
}

func TestWait(t *testing.T) {
	t.Parallel()
	a := newAPI(t, nil)
	server := httptest.NewUnstartedServer(a)
	// Shorter than the wait.
	server.Config.ReadTimeout, server.Config.WriteTimeout = 5*time.Second, 5*time.Second
	server.Start()
	defer server.Close()
	c := &poller{server.Config, server.URL, a.OperatorToken}
	status, _, tag := c.get(t, a.secrets("/values"), "")
	if status != 200 {
		t.Fatal(status)
	}

	start := time.Now()
	if status, body, same := c.get(t, a.secrets("/values?wait=6s"), tag); status != 304 || body != "" || same != tag || time.Since(start) < 6*time.Second {
		t.Errorf("nothing changes: %d %q %q after %v", status, body, same, time.Since(start))
	}
	// Without a current tag there is nothing to wait for.
	for _, old := range []string{"", `"x"`} {
		start = time.Now()
		if status, _, _ := c.get(t, a.secrets("/values?wait=5m"), old); status != 200 || time.Since(start) > time.Minute {
			t.Errorf("If-None-Match %s: %d after %v", old, status, time.Since(start))
		}
	}
	done := make(chan string)
	for range 3 {
		go func() {
			status, body, _ := c.get(t, a.secrets("/values?wait=5m"), tag)
			done <- fmt.Sprint(status, body)
		}()
	}
	time.Sleep(6 * time.Second) // longer than the server's timeouts
	a.MustChange(t, keep.Change{Set: map[string]string{"a": "1"}})
	for range 3 {
		select {
		case got := <-done:
			if got != "200{\n\t\"a\": \"1\"\n}" {
				t.Errorf("after the change: %s", got)
			}
		case <-time.After(time.Minute):
			t.Fatal("the waiting request did not return")
		}
	}
	for _, wait := range []string{"6m", "-1s", "soon", "5"} {
		if status, _, _ := c.get(t, a.secrets("/values?wait="+wait), tag); status != 400 {
			t.Errorf("wait=%s: %d", wait, status)
		}
	}
}

// TestWaitOfRevokedToken checks that who loses its rights while it waits doesn't get
// what it waits for.
func TestWaitOfRevokedToken(t *testing.T) {
	a := newAPI(t, nil)
	op := a.Operator(t, keep.InfluxDB)
	inactive := false
	deactivate := func(token keep.Token) error {
		_, err := a.UpdateToken(t.Context(), op, token.ID, keep.TokenUpdate{Active: &inactive})
		return err
	}
	remove := func(token keep.Token) error { return a.DeleteToken(t.Context(), op, token.ID) }
	for what, revoke := range map[string]func(keep.Token) error{"an inactive token": deactivate, "a deleted token": remove} {
		token := a.MustToken(t, keep.NewToken{Permissions: keeptest.ReadSecrets(a.Org)})
		a.MustChange(t, keep.Change{Set: map[string]string{"a": "before"}})
		tag := a.do(t, "GET", a.secrets("/values"), "", "Authorization", "Token "+token.Value).Header().Get("ETag")
		x := &httpapi.Exchange{Limits: &httpapi.Limits{Memory: httpapi.NewBudget(1<<30, 0), Waiting: httpapi.NewBudget(8, 0)}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			r := httptest.NewRequest("GET", a.secrets("/values?wait=5m"), nil)
			r.Header.Set("Authorization", "Token "+token.Value)
			r.Header.Set("If-None-Match", tag)
			w := httptest.NewRecorder()
			a.handler.ServeHTTP(w, r.WithContext(httpapi.WithExchange(r.Context(), x)))
			if w.Code/100 != 4 || strings.Contains(w.Body.String(), "after") {
				t.Errorf("%s: %d %s", what, w.Code, w.Body)
			}
		}()
		for ended := false; !ended && x.Limits.Waiting.Used() == 0; {
			select {
			case <-done:
				ended = true
			case <-time.After(time.Millisecond):
			}
		}
		if err := revoke(token); err != nil {
			t.Fatal(err)
		}
		a.MustChange(t, keep.Change{Set: map[string]string{"a": "after"}})
		<-done
	}
}

// TestWaitEndsWithTheServer checks that a stopping server doesn't wait for a
// change.
func TestWaitEndsWithTheServer(t *testing.T) {
	k := keeptest.New(t, nil)
	done := make(chan struct{})
	h := influxv2.New(k.Keep, influxv2.Config{Done: done})
	r := httptest.NewRequest("GET", "/api/v2/orgs/"+k.Org.String()+"/secrets/values?wait=5m", nil)
	r.Header.Set("Authorization", "Token "+k.OperatorToken)
	r.Header.Set("If-None-Match", "*")
	time.AfterFunc(50*time.Millisecond, func() { close(done) })
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 304 {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}
