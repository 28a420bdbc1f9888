package keep_test

import (
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

// TestImportNamed imports secrets by the names of organizations: one that exists,
// a new one with earlier versions, and one whose name is an ID.
func TestImportNamed(t *testing.T) {
	k := keeptest.New(t, nil)
	k.MustChange(t, keep.Change{Set: map[string]string{"here": "1"}})
	in := keep.Import{Source: 7, Kinds: []string{keep.ImportOrganizationKind, keep.ImportSecretKind}, Named: map[string]keep.ImportNamed{
		"acme": {Secrets: map[string]string{"a": "1"}, Earlier: []map[string]string{{"never": "1"}}},
		"new": {Secrets: map[string]string{"a": "3", "b": "1"}, Earlier: []map[string]string{
			{"a": "1", "gone": "1"}, {"a": "2", "bad\x00name": "1"}, {"a": "2"},
		}},
		"00000000000000ab": {Secrets: map[string]string{"a": "4"}},
	}}
	plan := mustPlan(t, k, in)
	report := mustImport(t, k, in)
	for _, kind := range []string{keep.ImportOrganizationKind, keep.ImportSecretKind} {
		if !maps.Equal(plan.Counts[kind], report.Counts[kind]) {
			t.Errorf("%s: planned %v, done %v", kind, plan.Counts[kind], report.Counts[kind])
		}
	}
	if n := report.Counts[keep.ImportSecretKind][keep.ImportNew]; n != 4 {
		t.Errorf("%d new secrets", n)
	}
	ids := make(map[string]keep.ID)
	for _, r := range report.Remarks {
		if r.Kind == keep.ImportOrganizationKind {
			ids[r.Name] = r.ID
		}
	}
	if ids["acme"] != k.Org || ids["00000000000000ab"] != 0xab {
		t.Errorf("the organizations are %v", ids)
	}
	for org, want := range map[keep.ID][]map[string]string{
		k.Org:      {{"here": "1"}, {"a": "1", "here": "1"}},
		ids["new"]: {{"a": "1", "gone": "1"}, {"a": "2"}, {"a": "2"}, {"a": "3", "b": "1"}},
		0xab:       {{"a": "4"}},
	} {
		for i, secrets := range want {
			d, err := k.Document(t.Context(), k.Operator(t, keep.InfluxDB), org, uint64(i+1))
			got := make(map[string]string)
			for _, s := range d.Secrets {
				got[s.Name] = s.Value
			}
			if err != nil || !maps.Equal(got, secrets) {
				t.Errorf("version %d of %s is %v, %v; want %v", i+1, org, got, err, secrets)
			}
		}
	}
	if c, err := k.CompareSecrets(t.Context(), keep.Offline(), in); err != nil || c.Equal != 4 || c.Different+c.Missing > 0 {
		t.Errorf("compared: %+v, %v", c, err)
	}
	// Once more, and after the new organization was renamed.
	name := "renamed"
	if _, err := k.UpdateOrganization(t.Context(), k.Operator(t, keep.InfluxDB), ids["new"], keep.OrganizationUpdate{Name: &name}); err != nil {
		t.Fatal(err)
	}
	if r := mustImport(t, k, in); r.Applied() != 0 {
		t.Errorf("a second import did %+v", r.Remarks)
	}
}

// TestImportNamedTwice checks that an import refuses two names of one organization: the
// secrets of one of them would be lost.
func TestImportNamedTwice(t *testing.T) {
	k := keeptest.New(t, nil)
	for _, other := range []string{k.Org.String(), " acme"} {
		in := keep.Import{Source: 7, Kinds: []string{keep.ImportOrganizationKind, keep.ImportSecretKind}, Named: map[string]keep.ImportNamed{
			"acme": {Secrets: map[string]string{"a": "1"}},
			other:  {Secrets: map[string]string{"b": "2"}},
		}}
		r, err := keep.PlanImport(t.Context(), k.Store(), k.Keys(), in)
		if err == nil || !strings.Contains(err.Error(), `"acme"`) || !strings.Contains(err.Error(), strconv.Quote(other)) {
			t.Errorf("acme and %q: %v, %v", other, r.Counts, err)
		}
	}
}
