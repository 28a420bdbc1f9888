package influxv2_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/backup"
	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
	"github.com/fluxkeep/fluxkeep/internal/seal"
)

// rotatable returns options for a domain that can rotate its keys.
func rotatable() *keeptest.Options {
	return &keeptest.Options{Configure: func(c *keep.Config) {
		c.SaveKeys = func(context.Context, *seal.Keys) error { return nil }
	}}
}

const (
	backupPath  = "/api/v2/fluxkeep/backup"
	keysPath    = "/api/v2/fluxkeep/keys"
	rotatePath  = "/api/v2/fluxkeep/keys/rotate"
	compactPath = "/api/v2/fluxkeep/compact"
)

// TestUpkeepIsForOperators checks that others learn and change nothing,
// whatever their token may do to an organization.
func TestUpkeepIsForOperators(t *testing.T) {
	a := newAPI(t, rotatable())
	owner := a.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(a.Org)})
	for _, route := range []string{"GET " + backupPath, "GET " + keysPath, "POST " + rotatePath, "POST " + compactPath} {
		method, path, _ := strings.Cut(route, " ")
		w := a.do(t, method, path, "", "Authorization", "Token "+owner.Value)
		want(t, w, http.StatusUnauthorized, keep.CodeUnauthorized)
		if !strings.Contains(w.Body.String(), "operator") || strings.Contains(w.Body.String(), "fluxkeep backup") {
			t.Errorf("%s by a writer: %s", route, w.Body)
		}
		want(t, a.do(t, method, path, "", "Authorization", ""), http.StatusUnauthorized, keep.CodeUnauthorized)
		want(t, a.do(t, method, path, "", "Authorization", "Token nobody's"), http.StatusUnauthorized, keep.CodeUnauthorized)
	}
	if keys := keysOf(t, a.do(t, "GET", keysPath, "")); len(keys.Keys) != 1 {
		t.Errorf("a refused rotation has left %+v", keys)
	}
}

func TestBackup(t *testing.T) {
	a := newAPI(t, nil)
	a.MustChange(t, keep.Change{Set: map[string]string{"db": "a value to look for"}})
	w := a.do(t, "GET", backupPath, "")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/octet-stream" || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, %v", w.Code, w.Header())
	}
	body := w.Body.Bytes()
	if bytes.Contains(body, []byte("a value to look for")) || bytes.Contains(body, []byte(a.OperatorToken)) {
		t.Error("the backup can be read")
	}
	records, err := keep.VerifyBackup(t.Context(), bytes.NewReader(body), func(h backup.Header) (*seal.Keys, error) {
		if string(h.Keyset) != `{"wrapped":"keyset"}` {
			t.Errorf("the keyset is %s", h.Keyset)
		}
		return a.Keys(), nil
	})
	if err != nil || records < 10 {
		t.Errorf("%d records, %v", records, err)
	}
}

// TestBackupWithoutKeyset checks that a backup that couldn't be opened isn't
// sent.
func TestBackupWithoutKeyset(t *testing.T) {
	read := 0
	a := newAPI(t, &keeptest.Options{Configure: func(c *keep.Config) {
		c.WrappedKeys = func(*seal.Keys) ([]byte, error) { read++; return nil, errors.New("disk") }
	}})
	writer := a.MustToken(t, keep.NewToken{Permissions: keeptest.WriteSecrets(a.Org)})
	want(t, a.do(t, "GET", backupPath, "", "Authorization", "Token "+writer.Value), http.StatusUnauthorized, keep.CodeUnauthorized)
	if read > 0 {
		t.Error("the keyset was read for an unauthorized caller")
	}
	want(t, a.do(t, "GET", backupPath, ""), http.StatusInternalServerError, keep.CodeInternal)
}

// breaking is a connection that breaks after some bytes.
type breaking struct {
	*httptest.ResponseRecorder
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return b.ResponseRecorder.Write(p)
}

// TestBackupBreaksOff checks that a truncated response doesn't end like a
// complete one.
func TestBackupBreaksOff(t *testing.T) {
	a := newAPI(t, nil)
	many := map[string]string{}
	for i := range 40 {
		many[strings.Repeat("n", i+1)] = strings.Repeat("v", 4000)
	}
	a.MustChange(t, keep.Change{Set: many})
	r := httptest.NewRequest("GET", backupPath, nil)
	r.Header.Set("Authorization", "Token "+a.OperatorToken)
	defer func() {
		if fault := recover(); fault != http.ErrAbortHandler {
			t.Errorf("the response ended with %v", fault)
		}
	}()
	a.ServeHTTP(&breaking{httptest.NewRecorder(), 70_000}, r)
	t.Error("the response ended normally")
}

type keysAnswer struct {
	Keys []struct {
		ID        string
		Primary   bool
		CreatedAt time.Time
	}
	Rotating    bool
	Done, Total int64
}

func keysOf(t *testing.T, w *httptest.ResponseRecorder) (k keysAnswer) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &k); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return k
}

func TestRotateKeys(t *testing.T) {
	a := newAPI(t, rotatable())
	a.MustChange(t, keep.Change{Set: map[string]string{"db": "1"}})
	before := keysOf(t, a.do(t, "GET", keysPath, ""))
	if len(before.Keys) != 1 || !before.Keys[0].Primary || before.Rotating || before.Keys[0].CreatedAt.IsZero() {
		t.Fatalf("at first: %+v", before)
	}
	w := a.do(t, "POST", rotatePath, "")
	want(t, w, http.StatusAccepted, "")
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		after := keysOf(t, a.do(t, "GET", keysPath, ""))
		if !after.Rotating {
			if len(after.Keys) != 1 || after.Keys[0].ID == before.Keys[0].ID || after.Done == 0 || after.Total == 0 {
				t.Errorf("in the end: %+v", after)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("still rotating: %+v", after)
		}
	}
	without := newAPI(t, nil)
	want(t, without.do(t, "POST", rotatePath, ""), http.StatusUnprocessableEntity, keep.CodeUnprocessable)
}

func TestCompact(t *testing.T) {
	a := newAPI(t, nil)
	a.MustChange(t, keep.Change{Set: map[string]string{"db": "1"}})
	want(t, a.do(t, "POST", compactPath, ""), http.StatusNoContent, "")
	if got := a.MustValues(t); got["db"] != "1" {
		t.Errorf("values are %v", got)
	}
}
