package client_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
)

func upkeepClient(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := client.New(client.Config{URL: srv.URL, Token: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBackup checks that the backup is written unchanged, and that a busy
// server's refusal is retried and not written.
func TestBackup(t *testing.T) {
	asked := 0
	c := upkeepClient(t, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			w.Header().Set("Retry-After", "0")
			http.Error(w, `{"code":"unavailable","message":"try again"}`, http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path != "/api/v2/fluxkeep/backup" || r.Header.Get("Authorization") != "Token operator" {
			t.Errorf("requested %s with %q", r.URL, r.Header.Get("Authorization"))
		}
		w.Write([]byte("\x00bytes, not JSON"))
	})
	var b bytes.Buffer
	if err := c.Backup(t.Context(), &b); err != nil || b.String() != "\x00bytes, not JSON" || asked != 2 {
		t.Errorf("%q after %d requests, %v", b.String(), asked, err)
	}
}

type fullDisk struct{}

var errFull = errors.New("disk full")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestBackupFails(t *testing.T) {
	c := upkeepClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("begun"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	var b bytes.Buffer
	if err := c.Backup(t.Context(), &b); err == nil || !strings.Contains(err.Error(), "read the answer") {
		t.Errorf("truncated answer: %v", err)
	}
	if err := c.Backup(t.Context(), fullDisk{}); !errors.Is(err, errFull) {
		t.Errorf("full disk: %v", err)
	}
	c = upkeepClient(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"code":"unauthorized","message":"this requires operator permissions"}`, http.StatusUnauthorized)
	})
	b.Reset()
	if err := c.Backup(t.Context(), &b); !errors.Is(err, client.ErrUnauthorized) || b.Len() > 0 {
		t.Errorf("refusal: %v, %q", err, b.String())
	}
}

// TestRotateKeys checks that a rotation is requested only once, because a
// retry could start another one.
func TestRotateKeys(t *testing.T) {
	asked := 0
	c := upkeepClient(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Method == http.MethodPost {
			http.Error(w, `{}`, http.StatusServiceUnavailable)
			return
		}
		w.Write([]byte(`{"keys":[{"id":"0a0b0c0d","primary":true,"createdAt":"2024-05-06T07:08:09Z"}],"rotating":true,"done":1,"total":2}`))
	})
	if _, err := c.RotateKeys(t.Context()); !errors.Is(err, client.ErrUnavailable) || asked != 1 {
		t.Errorf("%d requests, %v", asked, err)
	}
	keys, err := c.DataKeys(t.Context())
	if err != nil || len(keys.Keys) != 1 || keys.Keys[0].ID != "0a0b0c0d" || !keys.Keys[0].Primary || !keys.Rotating || keys.Total != 2 {
		t.Errorf("%+v, %v", keys, err)
	}
}

func TestScrub(t *testing.T) {
	c := upkeepClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method+r.URL.Path != "GET/api/v2/fluxkeep/scrub" {
			t.Errorf("asked for %s %s", r.Method, r.URL)
		}
		w.Write([]byte(`{"running":true,"done":1,"total":2,"damage":["user 0a0b0c0d0e0f0001"]}`))
	})
	s, err := c.Scrub(t.Context())
	if err != nil || !s.Running || s.Done != 1 || s.Total != 2 || !s.PassedAt.IsZero() || len(s.Damage) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestCluster(t *testing.T) {
	c := upkeepClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method+r.URL.Path != "GET/api/v2/fluxkeep/cluster" {
			t.Errorf("asked for %s %s", r.Method, r.URL)
		}
		w.Write([]byte(`{"changes":7,"servers":[{"id":"00000000000000a1","leads":true,"behind":2}],"members":[{"endpoint":"https://a:2379","leader":true,"sizeBytes":8}],"alarms":[]}`))
	})
	s, err := c.Cluster(t.Context())
	if err != nil || s.Changes != 7 || len(s.Servers) != 1 || *s.Servers[0].Behind != 2 || s.Servers[0].ClockSkew != nil || len(s.Members) != 1 || s.Members[0].Size != 8 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAuditLog(t *testing.T) {
	asked := ""
	c := upkeepClient(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path + "?" + r.URL.RawQuery
		w.Write([]byte(`{"records":[{"number":7,"action":"secrets.read","token":"influxd","names":["db"]}],"next":7,"last":9}`))
	})
	page, err := c.AuditLog(t.Context(), client.AuditQuery{
		Org: "acme", Secret: "a&b", Action: "secrets.*", Since: time.Date(2026, 1, 31, 13, 0, 0, 0, time.FixedZone("", 3600)), After: 3, Limit: 5, Wait: time.Minute,
	})
	if err != nil || page.Next != 7 || page.Last != 9 || len(page.Records) != 1 || page.Records[0].Token != "influxd" {
		t.Errorf("%+v, %v", page, err)
	}
	if want := "/api/v2/fluxkeep/audit?action=secrets.%2A&after=3&limit=5&org=acme&secret=a%26b&since=2026-01-31T12%3A00%3A00Z&wait=1m0s"; asked != want {
		t.Errorf("requested %s, want %s", asked, want)
	}
}
