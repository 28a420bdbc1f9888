package seal_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

const transitToken = "hvs.marker-token"

// transitFake is a small transit engine.
type transitFake struct {
	server *httptest.Server

	mu        sync.Mutex
	keys      map[string]cipher.AEAD
	token     string
	namespace string
	ignoresAD bool                                     // as old versions did
	answer    func(http.ResponseWriter, *http.Request) // if set, replaces the engine's answers
}

func newTransitFake(t testing.TB) *transitFake {
	t.Helper()
	f := &transitFake{keys: make(map[string]cipher.AEAD), token: transitToken}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/transit/encrypt/{name}", f.handle(f.encrypt))
	mux.HandleFunc("POST /v1/transit/decrypt/{name}", f.handle(f.decrypt))
	f.server = httptest.NewServer(mux)
	t.Cleanup(f.server.Close)
	return f
}

func (f *transitFake) provider(t testing.TB, key string) *seal.Transit {
	t.Helper()
	p, err := seal.NewTransit(f.config(key))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// config creates a key and returns a configuration for it.
func (f *transitFake) config(key string) seal.TransitConfig {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key(key)
	return seal.TransitConfig{Address: f.server.URL, Token: seal.CredentialValue([]byte(transitToken)), Key: key}
}

type transitBody struct {
	Plaintext      string `json:"plaintext"`
	Ciphertext     string `json:"ciphertext"`
	AssociatedData string `json:"associated_data"`
}

func (f *transitFake) handle(do func(cipher.AEAD, transitBody) (map[string]string, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if f.answer != nil {
			f.answer(w, r)
			return
		}
		if r.Header.Get("X-Vault-Token") != f.token || r.Header.Get("X-Vault-Namespace") != f.namespace {
			fail(w, http.StatusForbidden, "permission denied")
			return
		}
		var body transitBody
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			fail(w, http.StatusBadRequest, "error parsing JSON")
			return
		}
		if body.AssociatedData == "" {
			fail(w, http.StatusBadRequest, "the header of the document is not bound") // the engine itself would accept it
			return
		}
		name := r.PathValue("name")
		if f.keys[name] == nil && strings.Contains(r.URL.Path, "/decrypt/") {
			fail(w, http.StatusBadRequest, "encryption key not found") // encrypting creates it, as with a token that may create keys
			return
		}
		data, message := do(f.key(name), body)
		if message != "" {
			fail(w, http.StatusBadRequest, message)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"request_id": "1", "lease_id": "", "renewable": false, "data": data})
	}
}

func fail(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []string{message}})
}

func (f *transitFake) key(name string) cipher.AEAD {
	if f.keys[name] == nil {
		f.keys[name] = newAESGCM()
	}
	return f.keys[name]
}

// newAESGCM is the fakes' cipher, which puts a random nonce before each
// ciphertext.
func newAESGCM() cipher.AEAD {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has the right length
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return a
}

func (f *transitFake) encrypt(a cipher.AEAD, body transitBody) (map[string]string, string) {
	plaintext, err := base64.StdEncoding.DecodeString(body.Plaintext)
	if err != nil {
		return nil, "failed to base64-decode plaintext"
	}
	ad, err := base64.StdEncoding.DecodeString(body.AssociatedData)
	if err != nil {
		return nil, "failed to base64-decode associated_data"
	}
	if f.ignoresAD {
		ad = nil
	}
	ciphertext := "vault:v1:" + base64.StdEncoding.EncodeToString(a.Seal(nil, nil, plaintext, ad))
	return map[string]string{"ciphertext": ciphertext}, ""
}

func (f *transitFake) decrypt(a cipher.AEAD, body transitBody) (map[string]string, string) {
	text, ok := strings.CutPrefix(body.Ciphertext, "vault:v1:")
	if !ok {
		return nil, "invalid ciphertext: no prefix"
	}
	ciphertext, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, "invalid ciphertext: could not decode base64"
	}
	ad, err := base64.StdEncoding.DecodeString(body.AssociatedData)
	if err != nil {
		return nil, "failed to base64-decode associated_data"
	}
	if f.ignoresAD {
		ad = nil
	}
	plaintext, err := a.Open(nil, nil, ciphertext, ad)
	if err != nil {
		return nil, "cipher: message authentication failed"
	}
	return map[string]string{"plaintext": base64.StdEncoding.EncodeToString(plaintext)}, ""
}

func TestTransitKeyOfTheSameNameElsewhere(t *testing.T) {
	wrapped := mustWrap(t, newKeys(t), newTransitFake(t).provider(t, "fluxkeep"))
	_, err := seal.Load(t.Context(), wrapped, newTransitFake(t).provider(t, "fluxkeep"))
	if !errors.Is(err, seal.ErrWrongKey) || !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("err = %v, want ErrWrongKey and ErrDamaged", err)
	}
}

// The inner layer binds the header even if the server ignores associated data.
func TestTransitThatIgnoresAssociatedData(t *testing.T) {
	f := newTransitFake(t)
	f.ignoresAD = true
	p := f.provider(t, "fluxkeep")
	wrapped := mustWrap(t, newKeys(t), p)
	if _, err := seal.Load(t.Context(), wrapped, p); err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(wrapped), `"id": "transit/fluxkeep"`,
		`"id": "transit/fluxkeep", "parameters": {"note": "x"}`, 1)
	b, err := seal.Rechecksum([]byte(changed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Load(t.Context(), b, p); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("a changed header: %v, want ErrDamaged", err)
	}
}

func TestTransitMountNamespaceAndPath(t *testing.T) {
	f := newTransitFake(t)
	f.namespace = "team/one"
	var paths []string
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		rest, ok := strings.CutPrefix(r.URL.Path, "/vault/v1/secret/keys/")
		if !ok {
			http.NotFound(w, r)
			return
		}
		r.URL.Path = "/v1/transit/" + rest
		f.server.Config.Handler.ServeHTTP(w, r)
	}))
	defer outer.Close()
	c := f.config("fluxkeep")
	c.Address, c.Mount, c.Namespace = outer.URL+"/vault/", "/secret/keys/", "team/one/"
	p, err := seal.NewTransit(c)
	if err != nil {
		t.Fatal(err)
	}
	wrapped := mustWrap(t, newKeys(t), p)
	if _, err := seal.Load(t.Context(), wrapped, p); err != nil {
		t.Errorf("%v (paths %q)", err, paths)
	}
	if info, err := seal.Describe(wrapped); err != nil || info.KeyID != "team/one/secret/keys/fluxkeep" {
		t.Errorf("Describe = %+v, %v", info, err)
	}
}

// A token that is renewed in its file is picked up.
func TestTransitTokenFile(t *testing.T) {
	f := newTransitFake(t)
	path := filepath.Join(t.TempDir(), "token")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	f.token = "first"
	c := f.config("fluxkeep")
	c.Token = seal.CredentialFile(path)
	p, err := seal.NewTransit(c)
	if err != nil {
		t.Fatal(err)
	}
	wrapped := mustWrap(t, newKeys(t), p)
	f.token = "second"
	if _, err := seal.Load(t.Context(), wrapped, p); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("with the old token: %v, want one about status 403", err)
	}
	write("second\n")
	if _, err := seal.Load(t.Context(), wrapped, p); err != nil {
		t.Error(err)
	}
}

// TestTransitAnswers checks that any bad answer causes an error that says what
// happened, contains no token or key, and is about the document only if the
// answer is.
func TestTransitAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		want   string
	}{
		{"sealed", func(w http.ResponseWriter, _ *http.Request) { fail(w, 503, "Vault is sealed") }, "503"},
		{"forbidden", func(w http.ResponseWriter, _ *http.Request) { fail(w, 403, "permission denied") }, "forbidden"},
		{"no such key", func(w http.ResponseWriter, _ *http.Request) { fail(w, 400, "encryption key not found") }, "encryption key not found"},
		{"no such mount", func(w http.ResponseWriter, _ *http.Request) {
			fail(w, 404, `no handler for route "transit/decrypt/fluxkeep". route entry not found.`)
		}, "no handler for route"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusTemporaryRedirect)
		}, "redirect"},
		{"not JSON", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, "malformed"},
		{"other JSON", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }, "the response has no "},
		{"plaintext is not base64", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"data":{"plaintext":"*"}}`)
		}, "malformed"},
		{"error that is not JSON", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			io.WriteString(w, "bad gateway")
		}, "502"},
		{"too large", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"data":{"ciphertext":"`+strings.Repeat("x", 2<<20)+`"}}`)
		}, "too large"},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		}, "read the response"},
		{"echo", func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			fail(w, 500, "bad request: "+string(b)+r.Header.Get("X-Vault-Token"))
		}, "500"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newTransitFake(t)
			p := f.provider(t, "fluxkeep")
			wrapped := mustWrap(t, newKeys(t), p)

			var sent strings.Builder // the wrap request, which contains the document key in plain text
			f.mu.Lock()
			wrapping := true
			f.answer = func(w http.ResponseWriter, r *http.Request) {
				if wrapping && strings.Contains(r.URL.Path, "/decrypt/") {
					fail(w, http.StatusBadRequest, "cipher: message authentication failed") // the key exists
					return
				}
				b, err := io.ReadAll(io.TeeReader(r.Body, &sent))
				if err != nil {
					t.Error(err)
				}
				r.Body = io.NopCloser(strings.NewReader(string(b)))
				c.answer(w, r)
			}
			f.mu.Unlock()
			_, wrapErr := newKeys(t).Wrap(t.Context(), p)
			var body transitBody
			if err := json.Unmarshal([]byte(sent.String()), &body); err != nil || body.Plaintext == "" {
				t.Fatalf("wrapping sent %q: %v", sent.String(), err)
			}
			wrapping = false
			_, loadErr := seal.Load(t.Context(), wrapped, p)
			for what, err := range map[string]error{"Wrap": wrapErr, "Load": loadErr} {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, want it to contain %q", what, err, c.want)
					continue
				}
				if errors.Is(err, seal.ErrDamaged) || errors.Is(err, seal.ErrWrongKey) {
					t.Errorf("%s: %v is about the document", what, err)
				}
				if strings.Contains(err.Error(), transitToken) || strings.Contains(err.Error(), body.Plaintext) {
					t.Errorf("%s: the error contains a secret: %v", what, err)
				}
			}
		})
	}
}

// A missing key is not created, as encrypting would do if the token may.
func TestTransitMisspelledKey(t *testing.T) {
	f := newTransitFake(t)
	c := f.config("fluxkeep")
	c.Key = "fluxkep"
	p, err := seal.NewTransit(c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newKeys(t).Wrap(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), `key "fluxkep" does not exist`) || !strings.Contains(err.Error(), "transit/keys/fluxkep") {
		t.Errorf("err = %v, want it to name the key and say how to create it", err)
	}
	if len(f.keys) != 1 {
		t.Errorf("there are %d keys, want the one from before", len(f.keys))
	}
}

// A key whose first version may no longer decrypt exists.
func TestTransitKeyWithoutFirstVersion(t *testing.T) {
	f := newTransitFake(t)
	p := f.provider(t, "fluxkeep")
	f.answer = func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusBadRequest, "ciphertext or signature version is disallowed by policy (too old)")
	}
	if _, _, err := p.Key(t.Context()); err != nil {
		t.Error(err)
	}
}

// A redirect must not carry the token to another host.
func TestTransitDoesNotFollow(t *testing.T) {
	asked := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer elsewhere.Close()
	f := newTransitFake(t)
	f.answer = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}
	c := f.config("fluxkeep")
	c.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
	p, err := seal.NewTransit(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newKeys(t).Wrap(t.Context(), p); err == nil || asked {
		t.Errorf("err = %v; request to the other host: %v", err, asked)
	}
}

func TestTransitUnreachable(t *testing.T) {
	f := newTransitFake(t)
	p := f.provider(t, "fluxkeep")
	wrapped := mustWrap(t, newKeys(t), p)
	f.server.Close()
	_, err := seal.Load(t.Context(), wrapped, p)
	if err == nil || errors.Is(err, seal.ErrDamaged) || errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("err = %v, want one that is not about the document", err)
	}
}

func TestNewTransitRefuses(t *testing.T) {
	token := seal.CredentialValue([]byte("token"))
	good := seal.TransitConfig{Address: "https://vault.example:8200", Token: token, Key: "fluxkeep"}
	for name, c := range map[string]func(*seal.TransitConfig){
		"no address":                func(c *seal.TransitConfig) { c.Address = "" },
		"no scheme":                 func(c *seal.TransitConfig) { c.Address = "vault.example:8200" },
		"another scheme":            func(c *seal.TransitConfig) { c.Address = "ftp://vault.example" },
		"a password":                func(c *seal.TransitConfig) { c.Address = "https://user:marker@vault.example" },
		"a query":                   func(c *seal.TransitConfig) { c.Address = "https://vault.example?marker" },
		"no TLS":                    func(c *seal.TransitConfig) { c.Address = "http://vault.example:8200" },
		"no token":                  func(c *seal.TransitConfig) { c.Token = nil },
		"no key":                    func(c *seal.TransitConfig) { c.Key = "" },
		"a path as key":             func(c *seal.TransitConfig) { c.Key = "a/b" },
		"dots as key":               func(c *seal.TransitConfig) { c.Key = ".." },
		"dots in mount":             func(c *seal.TransitConfig) { c.Mount = "transit/../sys" },
		"a query in mount":          func(c *seal.TransitConfig) { c.Mount = "transit?x" },
		"a line break in namespace": func(c *seal.TransitConfig) { c.Namespace = "a\r\nb" },
		"an unreadable escape":      func(c *seal.TransitConfig) { c.Address = "https://vault.example/%zzmarker" },
	} {
		changed := good
		c(&changed)
		_, err := seal.NewTransit(changed)
		if err == nil {
			t.Errorf("%s was accepted", name)
		} else if strings.Contains(err.Error(), "marker") {
			t.Errorf("%s: the error may contain a secret: %v", name, err)
		}
	}
	for _, c := range []seal.TransitConfig{
		good,
		{Address: "http://127.0.0.1:8200", Token: token, Key: "k"},
		{Address: "http://[::1]:8200", Token: token, Key: "k"},
		{Address: "http://localhost:8200", Token: token, Key: "k"},
		{Address: "http://vault.example:8200", Token: token, Key: "k", AllowHTTP: true},
	} {
		if _, err := seal.NewTransit(c); err != nil {
			t.Errorf("%s: %v", c.Address, err)
		}
	}
}

func TestTransitTokenThatCannotBeHad(t *testing.T) {
	c := newTransitFake(t).config("fluxkeep")
	none := errors.New("no token here")
	c.Token = func(context.Context) ([]byte, error) { return nil, none }
	p, err := seal.NewTransit(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newKeys(t).Wrap(t.Context(), p); !errors.Is(err, none) {
		t.Errorf("err = %v, want the credential's own", err)
	}
}
