package server

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/datadir"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// transit is a transit engine with one key.
type transit struct {
	url  string
	args []string // flags for a server that uses it

	mu      sync.Mutex
	aead    cipher.AEAD
	decrypt func(w http.ResponseWriter, plaintext []byte) // if set, replaces the engine's answer
}

func newTransit(t *testing.T) *transit {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	f := new(transit)
	if f.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "t")
	f.url = server.URL
	f.args = []string{"--transit-address=" + server.URL, "--transit-token-file=" + token, "--transit-key=k"}
	return f
}

// set changes how the engine decrypts; nil restores the original.
func (f *transit) set(decrypt func(w http.ResponseWriter, plaintext []byte)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decrypt = decrypt
}

func (f *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
		Data       []byte `json:"associated_data"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	if r.URL.Path == "/v1/transit/encrypt/k" {
		sealed := base64.StdEncoding.EncodeToString(f.aead.Seal(nil, nil, body.Plaintext, body.Data))
		answerTransit(w, map[string]any{"ciphertext": "vault:v1:" + sealed})
		return
	}
	sealed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(body.Ciphertext, "vault:v1:"))
	if err != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	plaintext, err := f.aead.Open(nil, nil, sealed, body.Data)
	if err != nil {
		http.Error(w, `{"errors":["cipher: message authentication failed"]}`, http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	decrypt := f.decrypt
	f.mu.Unlock()
	if decrypt == nil {
		decrypt = func(w http.ResponseWriter, plaintext []byte) {
			answerTransit(w, map[string]any{"plaintext": plaintext})
		}
	}
	decrypt(w, plaintext)
}

func answerTransit(w http.ResponseWriter, data map[string]any) {
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

func forbidden(w http.ResponseWriter, _ []byte) {
	http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
}

func nonsense(w http.ResponseWriter, plaintext []byte) {
	answerTransit(w, map[string]any{"plaintext": bytes.Repeat([]byte{7}, len(plaintext))})
}

// TestKeysAreTried checks that commands fail, and change nothing, if the key service
// can't unwrap what it has wrapped.
func TestKeysAreTried(t *testing.T) {
	for name, decrypt := range map[string]func(http.ResponseWriter, []byte){"forbidden": forbidden, "nonsense": nonsense} {
		t.Run(name, func(t *testing.T) {
			f := newTransit(t)
			f.set(decrypt)
			dir := filepath.Join(t.TempDir(), "data")
			_, err := tryStart(t, testConfig(t, dir, f.args...))
			var provider *datadir.ProviderError
			if !errors.As(err, &provider) || provider.Kind != seal.KindTransit {
				t.Errorf("a first start: %v, want a ProviderError", err)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("the folder was created: %v", err)
			}

			f.set(nil)
			whole, ts := wholeFolder(t, f.args...)
			again := start(t, whole, f.args...)
			again.token, again.org = ts.token, ts.org
			before := read(t, whole, "keyset.json")
			f.set(decrypt)
			if a := again.do(t, "POST", keysPath+"/rotate", ""); a.status != http.StatusServiceUnavailable {
				t.Errorf("rotate: %d %s", a.status, a.body)
			}
			again.stop(t)
			if read(t, whole, "keyset.json") != before || exists(whole, "keyset.json.previous") {
				t.Error("a failed rotation changed the keyset")
			}

			local, _ := wholeFolder(t)
			before = read(t, local, "keyset.json")
			if _, err := datadir.Rewrap(t.Context(), testConfig(t, local), testConfig(t, local, f.args...)); !errors.As(err, &provider) {
				t.Errorf("rewrap: %v, want a ProviderError", err)
			}
			if read(t, local, "keyset.json") != before || exists(local, "keyset.json.previous") {
				t.Error("a failed rewrap changed the keyset")
			}
		})
	}
}

// TestPreviousKeyset checks that the previous keyset stays until a start has opened
// the new one, and that the error of a failed start names it.
func TestPreviousKeyset(t *testing.T) {
	dir, ts := wholeFolder(t)
	first := start(t, dir)
	first.token = ts.token
	before := read(t, dir, "keyset.json")
	if a := first.do(t, "POST", keysPath+"/rotate", ""); a.status != http.StatusAccepted {
		t.Fatalf("rotate: %d %s", a.status, a.body)
	}
	eventually(t, "the end of the rotation", func() bool {
		return strings.Contains(first.do(t, "GET", keysPath, "").body, `"rotating": false`)
	})
	first.stop(t)
	if previous := read(t, dir, "keyset.json.previous"); previous == before || previous == read(t, dir, "keyset.json") {
		t.Error("the previous keyset isn't the one with both keys")
	}

	good := read(t, dir, "keyset.json")
	write(t, filepath.Join(dir, "keyset.json"), "{}")
	if _, err := tryStart(t, testConfig(t, dir)); err == nil || !strings.Contains(err.Error(), "keyset.json.previous") {
		t.Errorf("a start with a damaged keyset: %v, want one that names the previous one", err)
	}
	if !exists(dir, "keyset.json.previous") {
		t.Fatal("a failed start deleted the previous keyset")
	}
	write(t, filepath.Join(dir, "keyset.json"), good)
	start(t, dir).stop(t)
	if exists(dir, "keyset.json.previous") {
		t.Error("a successful start left the previous keyset")
	}
}

// TestKeyHealth checks that health and metrics show a key service that is down, and
// that everything else keeps working.
func TestKeyHealth(t *testing.T) {
	f := newTransit(t)
	ts := start(t, filepath.Join(t.TempDir(), "data"), f.args...)
	ts.setUp(t)
	looks := func(when, status string, gauge string) {
		t.Helper()
		ts.data.CheckKeys(t.Context())
		a := ts.do(t, "GET", "/health", "")
		if a.status != http.StatusOK || !strings.Contains(a.body, `"name":"key-provider","status":"`+status+`"`) {
			t.Errorf("%s: health %d %s", when, a.status, a.body)
		}
		if m := ts.do(t, "GET", "/metrics", "").body; !strings.Contains(m, "fluxkeep_key_provider_available "+gauge+"\n") {
			t.Errorf("%s: the metric isn't %s", when, gauge)
		}
		if strings.Contains(a.body, f.url) {
			t.Errorf("%s: health reveals the service's address to strangers: %s", when, a.body)
		}
	}
	looks("well", "pass", "1")
	f.set(forbidden)
	looks("forbidden", "warn", "0")
	f.set(nonsense)
	looks("nonsense", "warn", "0")
	ts.putSecret(t, secretName, secretValue)
	f.set(nil)
	looks("well again", "pass", "1")
}

// TestBackupWithoutKeysetFile checks that a backup contains the keyset in use even if
// the file in the folder is missing or different, and that the server reports this.
func TestBackupWithoutKeysetFile(t *testing.T) {
	other, _ := wholeFolder(t)
	for name, spoil := range map[string]func(path string){
		"missing":     func(path string) { remove(t, path) },
		"damaged":     func(path string) { flip(t, path) },
		"another one": func(path string) { write(t, path, read(t, other, "keyset.json")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			ts := start(t, dir)
			ts.setUp(t)
			spoil(filepath.Join(dir, "keyset.json"))
			a := ts.do(t, "GET", "/api/v2/fluxkeep/backup", "")
			if a.status != http.StatusOK {
				t.Fatalf("backup: %d %s", a.status, a.body)
			}
			key, err := seal.OpenKeyFile(filepath.Join(dir, "key"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = keep.VerifyBackup(t.Context(), strings.NewReader(a.body), func(h backup.Header) (*seal.Keys, error) {
				return seal.Load(t.Context(), h.Keyset, key)
			})
			if err != nil {
				t.Errorf("the backup does not open: %v", err)
			}
			if health := ts.do(t, "GET", "/health", "").body; !strings.Contains(health, `"name":"keyset","status":"warn"`) {
				t.Errorf("health %s", health)
			}
			if !strings.Contains(ts.log.String(), "keyset.json") || !strings.Contains(ts.log.String(), "level=ERROR") {
				t.Error("the log doesn't mention it")
			}
			if m := ts.do(t, "GET", "/metrics", "").body; !strings.Contains(m, "fluxkeep_keyset_intact 0\n") {
				t.Error("the metric doesn't show it")
			}
		})
	}
}

// TestHangingServiceHoldsNobody checks that a server that waits for its key service
// doesn't listen yet.
func TestHangingServiceHoldsNobody(t *testing.T) {
	f := newTransit(t)
	dir, _ := wholeFolder(t, f.args...)
	asked, release := make(chan struct{}), make(chan struct{})
	f.set(func(w http.ResponseWriter, plaintext []byte) {
		close(asked)
		<-release
		answerTransit(w, map[string]any{"plaintext": plaintext})
	})
	l, err := net.Listen("tcp", "127.0.8.6:0") // where no other test can take the port
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0") // not all systems have more than this address
	}
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() {
		_, err := tryStart(t, testConfig(t, dir, append(f.args, "--http-bind-address="+address)...))
		started <- err
	}()
	<-asked
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("the server accepts connections before it can answer")
	}
	close(release)
	if err := <-started; err != nil {
		t.Errorf("the start: %v", err)
	}
}

func read(t testing.TB, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}
