package vaultkv

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// sameJSON checks that hand-encoded JSON is equivalent to encoding/json's.
func sameJSON(t *testing.T, got []byte, want any) {
	t.Helper()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	if err := json.Unmarshal(b, &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Fatalf("%s, want %s", got, b)
	}
}

func randomText(r *rand.Rand) string {
	alphabet := []string{"a", "Z", " ", `"`, `\`, "/", "<", "&", "\n", "\r", "\t", "\b", "\x00", "\x1f", "\x7f", "\u00e9", "\u2028", "\u2029", "\U0001f600", "\ufffd", "\xff", "\xc3", "\xed\xa0\x80"}
	var b strings.Builder
	for range r.IntN(12) {
		b.WriteString(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

// TestAppendDocument compares hand-encoded responses with encoding/json's.
func TestAppendDocument(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	randomTime := func() time.Time {
		if r.IntN(3) == 0 {
			return time.Time{}
		}
		return time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).In(time.FixedZone("", 3600*(r.IntN(24)-12)))
	}
	text := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.UTC().Format(time.RFC3339Nano)
	}
	randomVersion := func() keep.VersionInfo {
		return keep.VersionInfo{Number: r.Uint64N(1 << 50), Created: randomTime(), Deleted: randomTime(), Destroyed: r.IntN(2) == 0, Hidden: r.IntN(3) == 0}
	}
	for range 2_000 {
		d := keep.Document{Version: randomVersion()}
		data := map[string]any{}
		for i := range r.IntN(5) {
			name, value := fmt.Sprint(i, randomText(r)), randomText(r)
			d.Secrets = append(d.Secrets, keep.Secret{Name: name, Value: value})
			data[strings.ToValidUTF8(name, "")] = value
		}
		var custom any
		if r.IntN(2) == 0 {
			d.Custom = map[string]string{"a": randomText(r), "b": randomText(r)}
			custom = d.Custom
		}
		metadata := map[string]any{
			"created_time": text(d.Version.Created), "custom_metadata": custom, "deletion_time": text(d.Version.Deleted),
			"destroyed": d.Version.Destroyed, "version": d.Version.Number,
		}
		sameJSON(t, appendVersion(nil, &d.Version, d.Custom), metadata)
		var shown any = json.RawMessage("null")
		if !d.Version.Hidden {
			names := map[string]string{}
			for _, s := range d.Secrets {
				names[s.Name] = s.Value
			}
			shown = names
		}
		sameJSON(t, appendDocument(nil, func(b []byte) []byte { return b }, &d), map[string]any{"data": shown, "metadata": metadata})

		m := keep.Metadata{
			Settings: keep.Settings{MaxVersions: r.IntN(10), CASRequired: r.IntN(2) == 0, DeleteVersionAfter: time.Duration(r.Int64N(1e15)), Custom: d.Custom},
			Current:  r.Uint64N(99), Oldest: r.Uint64N(99), MetadataVersion: r.Uint64N(99), Created: randomTime(), Updated: randomTime(),
		}
		versions := map[string]any{}
		for i := range r.IntN(4) {
			v := randomVersion()
			v.Number = uint64(i)
			m.Versions = append(m.Versions, v)
			versions[fmt.Sprint(i)] = map[string]any{"created_time": text(v.Created), "deletion_time": text(v.Deleted), "destroyed": v.Destroyed}
		}
		sameJSON(t, appendMetadata(nil, &m), map[string]any{
			"cas_required": m.CASRequired, "created_time": text(m.Created), "current_metadata_version": m.MetadataVersion,
			"current_version": m.Current, "custom_metadata": custom, "delete_version_after": m.DeleteVersionAfter.String(),
			"max_versions": m.MaxVersions, "metadata_cas_required": false, "oldest_version": m.Oldest,
			"updated_time": text(m.Updated), "versions": versions,
		})
	}
}

func TestUUID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 10_000 {
		id := newUUID()
		if !form.MatchString(id) || !isUUID(id) || seen[id] {
			t.Fatalf("%q, seen before: %v", id, seen[id])
		}
		seen[id] = true
	}
	for _, s := range []string{"", "x", strings.Repeat("-", 36), strings.Repeat("a", 36), "123E4567-e89b-42d3-a456-426614174000", `123e4567-e89b-42d3-a456-42661417400"`} {
		if isUUID(s) {
			t.Errorf("%q passed as a UUID", s)
		}
	}
}
