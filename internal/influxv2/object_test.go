package influxv2_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/influxv2"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

func objectSeeds() []string {
	return []string{
		``, ` `, `{}`, ` { } `, `null`, `[]`, `"k"`, `7`, `k=v`, `true`, `nul`,
		`{"a":"1"}`, "\t{ \"a\" :\r\n\"1\" , \"b\":\"\" } ", `{"a":null}`, `{"a":nul}`, `{"a":"1","b":null,"c":"3"}`,
		`{"a":1}`, `{"a":-1}`, `{"a":true}`, `{"a":{"b":"c"}}`, `{"a":["b"]}`, `{"a":x}`,
		`{"a":"1","a":"2"}`, `{"a":"1","\u0061":"2"}`, `{"a":"1",}`, `{,}`, `{"a"}`, `{"a" "b"}`, `{"a":"1" "b":"2"}`, `{'a':'b'}`,
		`{"a":"1"}x`, `{"a":"1"}{"b":"2"}`, `{"a":"1`, `{"a":"1"`, `{"a":`, `{"a`, `{`, `{"a":"\`, `{"a":"\u00`, `{"a":"\u00"}`,
		`{"\"\\\/\b\f\n\r\t":"\u00e4\u20ac\ud83d\ude00"}`, `{"a":"\ud800"}`, `{"a":"\ude00\ud83d"}`, `{"a":"\ud800x"}`, `{"a":"\ud800\u0041"}`,
		`{"a":"\x"}`, `{"a":"\'"}`, "{\"a\":\"\x01\"}", "{\"a\":\"\n\"}", "{\"a\":\"\xff\"}", "{\"\xc3\":\"b\"}", "{\"ä€😀\":\"\u2028\"}", "\ufeff{}",
	}
}

// checkObject compares the object reader, in memory and piecewise, with
// httpapi.Decode.
func checkObject(tb testing.TB, body string) {
	tb.Helper()
	type result struct {
		values map[string]string
		nulls  map[string]bool
		err    error
	}
	read := func(each func(func(string, *string) error) error) result {
		r := result{map[string]string{}, map[string]bool{}, nil}
		r.err = each(func(name string, value *string) error {
			if _, twice := r.values[name]; twice || r.nulls[name] {
				return errors.New("duplicate name in an object")
			}
			if value == nil {
				r.nulls[name] = true
			} else {
				r.values[name] = *value
			}
			return nil
		})
		return r
	}
	var want map[string]*string
	wantErr := httpapi.Decode([]byte(body), &want)
	if wantErr == nil && want == nil {
		wantErr = errors.New("an object is needed, not null")
	}
	for how, got := range map[string]result{
		"in memory": read(func(fn func(string, *string) error) error { return influxv2.ParseObject([]byte(body), fn) }),
		"in pieces": read(func(fn func(string, *string) error) error {
			return influxv2.ReadObject(iotest.OneByteReader(strings.NewReader(body)), fn)
		}),
		"at once": read(func(fn func(string, *string) error) error {
			return influxv2.ReadObject(iotest.DataErrReader(strings.NewReader(body)), fn)
		}),
	} {
		if (got.err == nil) != (wantErr == nil) {
			tb.Fatalf("%s, %q: %v, want %v", how, body, got.err, wantErr)
		}
		if wantErr != nil {
			continue
		}
		values := map[string]string{}
		for name, value := range want {
			if value == nil != got.nulls[name] {
				tb.Fatalf("%s, %q: null for %q", how, body, name)
			}
			if value != nil {
				values[name] = *value
			}
		}
		if !maps.Equal(got.values, values) {
			tb.Fatalf("%s, %q: %q, want %q", how, body, got.values, values)
		}
	}
}

func TestObject(t *testing.T) {
	for _, body := range objectSeeds() {
		checkObject(t, body)
	}
}

func FuzzObject(f *testing.F) {
	for _, body := range objectSeeds() {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) { checkObject(t, body) })
}

// TestObjectMessages checks that a body with one error gets encoding/json's
// message.
func TestObjectMessages(t *testing.T) {
	for _, body := range objectSeeds() {
		var v map[string]string
		err := json.NewDecoder(strings.NewReader(body)).Decode(&v)
		got := influxv2.ParseObject([]byte(body), func(string, *string) error { return nil })
		if err == nil || got == nil || body == `{"a":"1","b":null,"c":"3"}` {
			continue
		}
		if got.Error() != err.Error() {
			t.Errorf("%q: %q, want %q", body, got, err)
		}
	}
}

func TestReadObjectLimits(t *testing.T) {
	long := strings.Repeat(`\u0061`, keep.MaxValue)
	var read string
	err := influxv2.ReadObject(strings.NewReader(`{"a":"`+long+`"}`), func(_ string, value *string) error {
		read = *value
		return nil
	})
	if err != nil || len(read) != keep.MaxValue {
		t.Errorf("read %d bytes, %v", len(read), err)
	}
	err = influxv2.ReadObject(strings.NewReader(`{"a":"`+long+`\u0061"`+strings.Repeat(" ", 1<<20)), func(string, *string) error { return nil })
	if keep.CodeOf(err) != keep.CodeTooLarge && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a string over the limit: %v", err)
	}
	// An endless string must not be buffered.
	endless := io.MultiReader(strings.NewReader(`{"a":"`), iotest.TimeoutReader(strings.NewReader(strings.Repeat("a", 64<<20))))
	if err := influxv2.ReadObject(endless, func(string, *string) error { return nil }); err == nil {
		t.Error("an endless string was accepted")
	}
	err = influxv2.ReadObject(io.MultiReader(strings.NewReader(`{"a":"`), strings.NewReader(strings.Repeat("a", 64<<20))), func(string, *string) error { return nil })
	if keep.CodeOf(err) != keep.CodeTooLarge {
		t.Errorf("an endless string: %v", err)
	}
	broken := errors.New("connection lost")
	for _, body := range []string{"", "{", `{"a"`, `{"a":`, `{"a":"1"`, `{"a":"1"}`} {
		if err := influxv2.ReadObject(io.MultiReader(strings.NewReader(body), iotest.ErrReader(broken)), func(string, *string) error { return nil }); !errors.Is(err, broken) {
			t.Errorf("%q and then no more: %v", body, err)
		}
	}
	if err := influxv2.ReadObject(lazyReader{}, func(string, *string) error { return nil }); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that returns nothing: %v", err)
	}
}

type lazyReader struct{}

func (lazyReader) Read([]byte) (int, error) { return 0, nil }

// FuzzSecretsBody checks that the decoder of PATCH secrets accepts what
// encoding/json accepts, with the same result, and that its messages are those
// of the slow path.
func FuzzSecretsBody(f *testing.F) {
	for _, body := range objectSeeds() {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := influxv2.DecodeSecrets(body)
		var want map[string]string
		wantErr := httpapi.Decode(body, &want)
		switch {
		case wantErr != nil && err == nil:
			t.Fatalf("%q was accepted, despite %v", body, wantErr)
		case wantErr == nil && err != nil && !strings.Contains(err.Error(), "null"):
			t.Fatalf("%q: %v", body, err)
		case err == nil && !maps.Equal(got, want):
			t.Fatalf("%q: %q, want %q", body, got, want)
		}
	})
}

func FuzzNamesBody(f *testing.F) {
	for _, body := range []string{`{"secrets":["a","b"]}`, `{"secrets":[]}`, `null`, `{}`, `{"secrets":"a"}`, `{"secrets":[1]}`, `{"secrets":[null]}`, `{"secrets":null}`, `{"secrets":["null"]}`, `{"keys":[null]}`, `{"SECRETS":["a"],"secrets":["b"]}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		names, err := influxv2.DecodeNames(body)
		var want struct{ Secrets []string }
		wantErr := httpapi.Decode(body, &want)
		if err == nil && (wantErr != nil || len(names) != len(want.Secrets)) {
			t.Fatalf("%q: %q; encoding/json: %q, %v", body, names, want.Secrets, wantErr)
		}
		if wantErr == nil && err != nil && !strings.Contains(err.Error(), "null") {
			t.Fatalf("%q: %v", body, err)
		}
	})
}
