package seal_test

import (
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/seal"
)

const (
	gcpKey      = "projects/p/locations/global/keyRings/r/cryptoKeys/fluxkeep"
	gcpOtherKey = "projects/p/locations/global/keyRings/r/cryptoKeys/another"

	gcpToken        = "ya29.marker-token"
	gcpRefreshToken = "1//marker-refresh-token"
)

// gcpFake implements encrypt and decrypt as documented for Cloud KMS's REST
// API, and Google's token endpoint.
type gcpFake struct {
	server *httptest.Server

	mu     sync.Mutex
	keys   map[string]cipher.AEAD
	answer func(http.ResponseWriter, *http.Request) // if set, replaces KMS's answers
	tokens func(http.ResponseWriter, *http.Request) // if set, replaces the token endpoint's answers
}

// newGCPFake starts the fake and makes its credentials the default.
func newGCPFake(t testing.TB) *gcpFake {
	t.Helper()
	f := &gcpFake{keys: make(map[string]cipher.AEAD)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", f.token)
	mux.HandleFunc("POST /v1/projects/", f.kms)
	f.server = httptest.NewServer(mux)
	t.Cleanup(f.server.Close)

	file := filepath.Join(t.TempDir(), "credentials.json")
	credentials, err := json.Marshal(map[string]string{
		"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": gcpRefreshToken,
		"token_uri": f.server.URL + "/token", "quota_project_id": "payer",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, credentials, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	return f
}

func (f *gcpFake) config(key string) seal.GCPKMSConfig {
	return seal.GCPKMSConfig{Key: key, Endpoint: f.server.URL}
}

func (f *gcpFake) provider(t testing.TB, key string) *seal.GCPKMS {
	t.Helper()
	p, err := seal.NewGCPKMS(f.config(key))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (f *gcpFake) set(answer func(http.ResponseWriter, *http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *gcpFake) token(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case f.tokens != nil:
		f.tokens(w, r)
	case r.PostFormValue("grant_type") != "refresh_token" || r.PostFormValue("refresh_token") != gcpRefreshToken:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error": "invalid_grant"}`)
	default:
		fmt.Fprintf(w, `{"access_token": %q, "expires_in": 3599, "token_type": "Bearer"}`, gcpToken)
	}
}

// gcpBody has the fields of both requests. Numbers are strings, as in all of
// Google's JSON.
type gcpBody struct {
	Plaintext         []byte `json:"plaintext"`
	PlaintextCRC      string `json:"plaintextCrc32c"`
	Ciphertext        []byte `json:"ciphertext"`
	CiphertextCRC     string `json:"ciphertextCrc32c"`
	AssociatedData    []byte `json:"additionalAuthenticatedData"`
	AssociatedDataCRC string `json:"additionalAuthenticatedDataCrc32c"`
}

func (f *gcpFake) kms(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	if f.answer != nil {
		f.answer(w, r)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+gcpToken || r.Header.Get("X-Goog-User-Project") != "payer" {
		gcpFail(w, http.StatusUnauthorized, "UNAUTHENTICATED")
		return
	}
	var body gcpBody
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(&body)
	// KMS itself would accept a request without associated data.
	if err != nil || len(body.AssociatedData) == 0 || body.AssociatedDataCRC != castagnoli(body.AssociatedData) {
		gcpFail(w, http.StatusBadRequest, "INVALID_ARGUMENT")
		return
	}
	name, method, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), ":")
	switch method {
	case "encrypt":
		f.encrypt(w, name, body)
	case "decrypt":
		f.decrypt(w, name, body)
	default:
		gcpFail(w, http.StatusNotFound, "NOT_FOUND")
	}
}

func (f *gcpFake) encrypt(w http.ResponseWriter, name string, body gcpBody) {
	if f.keys[name] == nil {
		f.keys[name] = newAESGCM()
	}
	ciphertext := f.keys[name].Seal(nil, nil, body.Plaintext, body.AssociatedData)
	json.NewEncoder(w).Encode(map[string]any{
		"name":                    name + "/cryptoKeyVersions/1",
		"ciphertext":              ciphertext,
		"ciphertextCrc32c":        castagnoli(ciphertext),
		"verifiedPlaintextCrc32c": body.PlaintextCRC == castagnoli(body.Plaintext),
		"verifiedAdditionalAuthenticatedDataCrc32c": true,
		"protectionLevel": "SOFTWARE",
	})
}

func (f *gcpFake) decrypt(w http.ResponseWriter, name string, body gcpBody) {
	key := f.keys[name]
	if key == nil {
		gcpFail(w, http.StatusNotFound, "NOT_FOUND")
		return
	}
	plaintext, err := key.Open(nil, nil, body.Ciphertext, body.AssociatedData)
	if err != nil || body.CiphertextCRC != castagnoli(body.Ciphertext) {
		gcpFail(w, http.StatusBadRequest, "INVALID_ARGUMENT")
		return
	}
	json.NewEncoder(w).Encode(map[string]any{
		"plaintext": plaintext, "plaintextCrc32c": castagnoli(plaintext), "usedPrimary": true, "protectionLevel": "SOFTWARE",
	})
}

func castagnoli(b []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))), 10)
}

// gcpFail answers with an error like Google's APIs. Its message repeats the
// credential, as a proxy's might.
func gcpFail(w http.ResponseWriter, status int, name string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{
		"error": map[string]any{"code": status, "message": "refused: " + gcpToken, "status": name},
	})
}

func TestGCPKMSErrors(t *testing.T) {
	f := newGCPFake(t)
	p := f.provider(t, gcpKey)
	wrapped := mustWrap(t, newKeys(t), p)
	for _, c := range []struct {
		name    string
		answer  func(http.ResponseWriter, *http.Request)
		says    string
		verdict bool // whether the error is about the document
	}{
		{"no permission", gcpAnswer(403, "PERMISSION_DENIED"), "lack the role", false},
		{"no credentials", gcpAnswer(401, "UNAUTHENTICATED"), "not valid", false},
		{"disabled key", gcpAnswer(400, "FAILED_PRECONDITION"), "disabled or destroyed", false},
		{"no key", gcpAnswer(404, "NOT_FOUND"), "does not exist", false},
		{"down", gcpAnswer(503, "UNAVAILABLE"), "status 503", false},
		{"another ciphertext", gcpAnswer(400, "INVALID_ARGUMENT"), "", true},
		{"unknown", gcpAnswer(418, "TEAPOT"), "status 418", false},
		{"a proxy", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, gcpToken, http.StatusBadGateway) }, "status 502", false},
		{"a redirect", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(307)
		}, "elsewhere.example", false},
		{"not JSON", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, gcpToken) }, "malformed", false},
		{"nothing", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) }, "no plaintext", false},
		{"wrong checksum", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"plaintext": "AAAA", "plaintextCrc32c": "1", "ciphertext": "AAAA", "ciphertextCrc32c": "1"}`)
		}, "checksum", false},
		{"too much", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2<<20)) }, "too large", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.set(c.answer)
			_, err := seal.Load(t.Context(), wrapped, p)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), gcpToken) {
				t.Errorf("Load: %v, want it to contain %q without the service's own text", err, c.says)
			}
			if errors.Is(err, seal.ErrDamaged) != c.verdict {
				t.Errorf("Load: %v, want an error about the document: %v", err, c.verdict)
			}
			_, err = newKeys(t).Wrap(t.Context(), p)
			if err == nil || strings.Contains(err.Error(), gcpToken) || errors.Is(err, seal.ErrDamaged) {
				t.Errorf("Wrap: %v, want only the service's failure", err)
			}
		})
	}
}

func gcpAnswer(status int, name string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { gcpFail(w, status, name) }
}

func TestGCPCredentials(t *testing.T) {
	f := newGCPFake(t)
	p := f.provider(t, gcpKey)
	f.tokens = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error": "invalid_grant", "error_description": %q}`, gcpRefreshToken)
	}
	_, err := newKeys(t).Wrap(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), "status 400") || strings.Contains(err.Error(), gcpRefreshToken) {
		t.Errorf("refused credentials: %v, want one with the status and without the response", err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/credentials.json")
	if _, err := newKeys(t).Wrap(t.Context(), p); err == nil || !strings.Contains(err.Error(), "/nowhere/credentials.json") {
		t.Errorf("missing credentials: %v, want it to name the file", err)
	}
}

func TestGCPKeyOfTheSameNameElsewhere(t *testing.T) {
	wrapped := mustWrap(t, newKeys(t), newGCPFake(t).provider(t, gcpKey))
	other := newGCPFake(t).provider(t, gcpKey)
	mustWrap(t, newKeys(t), other) // creates a key of that name
	if _, err := seal.Load(t.Context(), wrapped, other); !errors.Is(err, seal.ErrWrongKey) || !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("err = %v, want ErrWrongKey and ErrDamaged", err)
	}
}

func TestNewGCPKMSRefuses(t *testing.T) {
	for _, name := range []string{
		"", "fluxkeep", "gcp-kms://" + gcpKey, gcpKey + "/cryptoKeyVersions/1", gcpKey + "\n", gcpKey + "?alt=media",
		"projects//locations/global/keyRings/r/cryptoKeys/k", "projects/p/locations/global/keyRings/r/cryptoKeys/..",
	} {
		if _, err := seal.NewGCPKMS(seal.GCPKMSConfig{Key: name}); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}
