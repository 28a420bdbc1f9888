package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

func mux() *httpapi.Mux {
	say := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, s+" "+r.PathValue("org")+" "+r.PathValue("name"))
		}
	}
	return httpapi.NewMux([]httpapi.Route{
		{Method: "GET", Pattern: "/orgs/{org}/secrets", Handler: say("list")},
		{Method: "PATCH", Pattern: "/orgs/{org}/secrets", Handler: say("patch")},
		{Method: "DELETE", Pattern: "/orgs/{org}/secrets/{name}", Lenient: true, Handler: say("delete")},
		{Method: "DELETE", Pattern: "/orgs/{org}", Handler: say("delete organization")},
		{Method: "PUT", Pattern: "/docs/{name...}", Handler: say("put")},
		{Method: "GET", Pattern: "/docs/{name...}", Handler: say("get")},
	}, httpapi.MuxConfig{
		NotFound:   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		NotAllowed: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(405) },
	})
}

func TestMux(t *testing.T) {
	m := mux()
	for _, c := range []struct {
		method, target string
		status         int
		body           string
	}{
		{"GET", "/orgs/a/secrets", 200, "list a "},
		{"HEAD", "/orgs/a/secrets", 200, "list a "},
		{"GET", "/orgs/a/secrets/", 200, "list a "},
		{"GET", "/orgs//secrets", 200, "list \x00 "},
		{"GET", "//orgs/a/secrets", 404, ""},
		{"DELETE", "/orgs/a/secrets/x%2Fy", 200, "delete a x/y"},
		{"DELETE", "/orgs/a/secrets/%252F", 200, "delete a %2F"},
		{"DELETE", "/orgs/a/secrets/%2F", 200, "delete a /"},
		{"DELETE", "/orgs/a/secrets/%2f/", 200, "delete a /"},
		{"DELETE", "/orgs/a/secrets/%2Fx", 200, "delete a /x"},
		{"DELETE", "/orgs/a/secrets/x%2F", 200, "delete a x/"},
		{"DELETE", "/orgs/a/secrets/%2F%2F", 200, "delete a //"},
		{"DELETE", "/orgs/a/secrets/%2F%00", 200, "delete a \x00"},
		{"DELETE", "/orgs/a/secrets/%2E%2E", 200, "delete a %2E%2E"},
		{"DELETE", "/orgs/a/secrets/%2e", 200, "delete a %2e"},
		{"DELETE", "/orgs/a/secrets/a%2Eb", 200, "delete a a.b"},
		{"DELETE", "/orgs/a/secrets/..", 200, "delete a .."},
		{"DELETE", "/orgs/a/secrets/x/y", 404, ""},
		{"DELETE", "/orgs/a/secrets/a+b", 200, "delete a a+b"},
		{"PUT", "/orgs/a/secrets", 405, ""},
		{"DELETE", "/orgs/a", 200, "delete organization a "},
		{"DELETE", "/orgs/a/", 404, ""}, // clients turn /orgs/a/secrets/.. into this
		{"DELETE", "/orgs//", 404, ""},
		{"DELETE", "/orgs/", 404, ""},
		{"PUT", "/docs/a/b", 200, "put  a/b"},
		{"PUT", "/docs/a/", 404, ""},
		{"PUT", "/docs//a", 404, ""},
		{"PUT", "/docs/a%2F", 200, "put  a/"},
		{"GET", "/docs/a/", 200, "get  a"},
		{"GET", "/", 404, ""},
	} {
		t.Run(c.method+" "+c.target, func(t *testing.T) {
			w := httptest.NewRecorder()
			m.ServeHTTP(w, httptest.NewRequest(c.method, c.target, nil))
			if w.Code != c.status || w.Body.String() != c.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, c.status, c.body)
			}
			if allow := w.Header().Get("Allow"); c.status == 405 && allow != "GET, HEAD, PATCH" {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
}

func packed(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}

func TestReadBody(t *testing.T) {
	for _, c := range []struct {
		name, encoding, body, want string
		err                        error
	}{
		{"plain", "", "abc", "abc", nil},
		{"identity", "identity", "abc", "abc", nil},
		{"gzip", "gzip", packed("abc"), "abc", nil},
		{"empty", "", "", "", nil},
		{"at the limit", "", strings.Repeat("x", 100), strings.Repeat("x", 100), nil},
		{"over the limit", "", strings.Repeat("x", 101), "", httpapi.ErrTooLarge},
		{"over the limit after decompression", "gzip", packed(strings.Repeat("x", 101)), "", httpapi.ErrTooLarge},
		{"not gzip", "gzip", "abc", "", httpapi.ErrGzip},
		{"cut gzip", "gzip", packed("abc")[:20], "", httpapi.ErrGzip},
		{"corrupt gzip", "gzip", packed("abc")[:10] + "\xff\xff" + packed("abc")[12:], "", httpapi.ErrGzip},
		{"other", "br", "abc", "", httpapi.ErrEncoding},
	} {
		for _, known := range []bool{true, false} {
			r := httptest.NewRequest("POST", "/", strings.NewReader(c.body))
			r.Header.Set("Content-Encoding", c.encoding)
			if !known {
				r.ContentLength = -1
			}
			got, err := httpapi.ReadBody(httptest.NewRecorder(), r, 100)
			if string(got) != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s, length known %v: got %q, %v", c.name, known, got, err)
			}
		}
	}
}

func TestSetRetryAfter(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "", -1: "", 1: "1", time.Second: "1", 1500 * time.Millisecond: "2", time.Minute: "60"} {
		h := http.Header{}
		httpapi.SetRetryAfter(h, d)
		if got := h.Get("Retry-After"); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// roomReader records the size of the buffer that it is read into.
type roomReader struct{ room int }

func (r *roomReader) Read(p []byte) (int, error) {
	r.room = len(p)
	return 0, io.ErrUnexpectedEOF
}

// TestReadBodyAnnounced checks that announcing a long body without sending it
// takes no memory.
func TestReadBodyAnnounced(t *testing.T) {
	body := new(roomReader)
	r := httptest.NewRequest("POST", "/", body)
	r.ContentLength = 8 << 20
	if _, err := httpapi.ReadBody(httptest.NewRecorder(), r, 8<<20); err == nil {
		t.Error("read a body that was never sent")
	}
	if body.room == 0 || body.room > 128<<10 {
		t.Errorf("%d bytes were allocated", body.room)
	}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct{ in, err string }{
		{`{"a":"1","b":"2"}`, ""},
		{`null`, ""},
		{` {"a":"1"} `, ""},
		{`{"a":"\ud83d\ude00"}`, ""},
		{`{"a":"\\ud800"}`, ""},
		{``, "EOF"},
		{`{"a":`, "unexpected EOF"},
		{`{"a":1}`, "json: cannot unmarshal number into Go value of type string"},
		{`{"a":"1","a":"2"}`, "duplicate name in an object"},
		{`{"a":"1","\u0061":"2"}`, "duplicate name in an object"},
		{`{"a":"1"}{"b":"2"}`, "invalid text after the JSON document"},
		{`{"a":"1"} x`, "invalid text after the JSON document"},
		{"{\"a\":\"\xff\"}", "invalid UTF-8"},
		{`{"a":"\ud800"}`, `invalid \u escape: half of a surrogate pair`},
		{`{"a":"\ud800x"}`, `invalid \u escape: half of a surrogate pair`},
		{`{"a":"\ude00\ud83d"}`, `invalid \u escape: half of a surrogate pair`},
	} {
		var v map[string]string
		err := httpapi.Decode([]byte(c.in), &v)
		if got := errText(err); got != c.err {
			t.Errorf("Decode(%q): %q, want %q", c.in, got, c.err)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestDecodeCost checks that the checks for what encoding/json lets pass cost
// no more than decoding: a body can have a million names.
func TestDecodeCost(t *testing.T) {
	for name, element := range map[string]string{"objects": `{"a":0},`, "names": `"%06d":0,`, "values": `"x",`, "numbers": `0,`} {
		var b strings.Builder
		const elements = 10_000
		for i := range elements {
			if strings.Contains(element, "%") {
				fmt.Fprintf(&b, element, i)
			} else {
				b.WriteString(element)
			}
		}
		body := []byte("[" + strings.TrimSuffix(b.String(), ",") + "]")
		if name == "names" {
			body[0], body[len(body)-1] = '{', '}'
		}
		decode := func(fn func([]byte, any) error) float64 {
			return testing.AllocsPerRun(3, func() {
				var v json.RawMessage
				if err := fn(body, &v); err != nil {
					t.Fatal(err)
				}
			})
		}
		if n := decode(httpapi.Decode) - decode(json.Unmarshal); n > 4*elements {
			t.Errorf("%s: %v allocations for %d elements", name, n, elements)
		}
	}
}

// FuzzDecode checks that accepted text means the same to every JSON reader, so
// that it survives encoding and decoding.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":"1"}`, `{"a":"\ud83d\ude00","b":["x",{"c":null}]}`, `{"a":"1","a":"2"}`, `{"a":"\ud800"}`, "{\"\xff\":1}", `[1,2] `, `{"a":"1"}x`, `""`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if httpapi.Decode(data, &v) != nil {
			return
		}
		if !utf8.Valid(data) {
			t.Fatalf("accepted invalid UTF-8: %q", data)
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var again any
		if err := httpapi.Decode(out, &again); err != nil {
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		if !reflect.DeepEqual(v, again) {
			t.Fatalf("%q decodes to %v; encoded and decoded again, to %v", data, v, again)
		}
	})
}
