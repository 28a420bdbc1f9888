package client_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/client"
)

// TestSecretChanges checks that a list is read to its end, and a page alone if only
// that is wanted.
func TestSecretChanges(t *testing.T) {
	const secrets = 2500
	var asked []string
	c := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		offset, _ := strconv.Atoi(r.FormValue("offset"))
		limit, _ := strconv.Atoi(r.FormValue("limit"))
		changes := []map[string]any{}
		for i := offset; i < min(offset+limit, secrets); i++ {
			changes = append(changes, map[string]any{"name": fmt.Sprint("n", i), "version": i + 1})
		}
		json.NewEncoder(w).Encode(map[string]any{"changes": changes, "total": secrets})
	}))
	list, total, err := c.SecretChanges(t.Context(), "o", nil)
	if err != nil || total != secrets || len(list) != secrets || list[secrets-1].Version != secrets {
		t.Errorf("got %d of %d, %v", len(list), total, err)
	}
	list, total, err = c.SecretChanges(t.Context(), "o", &client.ChangesQuery{Filter: "n*", ByChange: true, Descending: true, Offset: 10, Limit: 5})
	if err != nil || total != secrets || len(list) != 5 || list[0].Name != "n10" {
		t.Errorf("got %+v of %d, %v", list, total, err)
	}
	want := []string{
		"limit=1000&offset=0", "limit=1000&offset=1000", "limit=1000&offset=2000",
		"descending=true&filter=n%2A&limit=5&offset=10&sort=changed",
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// TestVersionSettings checks how durations are sent and read.
func TestVersionSettings(t *testing.T) {
	var sent map[string]any
	answer := `{"maxVersions":10,"casRequired":true,"deleteVersionAfter":"720h0m0s"}`
	c := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			json.NewDecoder(r.Body).Decode(&sent)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		fmt.Fprint(w, answer)
	}))
	month, never := 720*time.Hour, time.Duration(0)
	got, err := c.VersionSettings(t.Context(), "o")
	if want := (client.VersionSettings{MaxVersions: 10, CASRequired: true, DeleteVersionAfter: month}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := c.UpdateVersionSettings(t.Context(), "o", client.VersionSettingsUpdate{DeleteVersionAfter: &never}); err != nil || len(sent) != 1 || sent["deleteVersionAfter"] != "0s" {
		t.Errorf("sent %v, %v", sent, err)
	}
	answer = `{"deleteVersionAfter":"soon"}`
	if got, err = c.VersionSettings(t.Context(), "o"); err == nil {
		t.Errorf("got %+v", got)
	}
}
