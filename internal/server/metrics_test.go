package server

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spf13/pflag"
)

// The metrics contain everything that an operator needs, and nothing confidential.
func TestMetrics(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"))
	ts.setUp(t)
	ts.putSecret(t, secretName, secretValue)
	use(t, ts)
	a := ts.do(t, "GET", "/metrics", "", "Authorization", "")
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Fatalf("answered %d %v", a.status, a.header)
	}
	for _, want := range []string{
		`fluxkeep_http_requests_total{method="PATCH",route="/api/v2/orgs/{orgID}/secrets",status="2xx"} 1`,
		`fluxkeep_http_requests_total{method="DELETE",route="/api/v2/orgs/{orgID}/secrets/{secretID}",status="2xx"} 1`,
		`fluxkeep_http_requests_total{method="GET",route="/v1/secret/data/{org...}",status="2xx"} 1`,
		`fluxkeep_http_requests_total{method="GET",route="none",status="4xx"} 2`,
		`fluxkeep_http_requests_in_flight 1`,
		`fluxkeep_http_connections `, // the client chooses how many
		`fluxkeep_build_info{commit="abcdef",goversion="go`,
		`fluxkeep_audit_log_writable 1`,
		`fluxkeep_audit_log_lines_total `,
		`fluxkeep_audit_log_file_bytes `,
		`fluxkeep_store_available 1`,
		`fluxkeep_store_commits_total `,
		`fluxkeep_merges_total 0`,
		`fluxkeep_merge_conflicts_total 0`,
		`fluxkeep_drop_guards_total 0`,
		`fluxkeep_organizations_adopted_total 0`,
		`fluxkeep_backup_last_success_timestamp_seconds 0`,
		`go_goroutines `,
		`process_start_time_seconds `,
	} {
		if !strings.Contains(a.body, "\n"+want) {
			t.Errorf("no metric %s", want)
		}
	}
	checkClean(t, "the metrics", a.body, ts)
	checkClean(t, "the log", ts.log.String(), ts)
	registry, err := newRegistry(ts.Server)
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil {
		t.Error(err)
	} else {
		for _, p := range problems {
			if strings.HasPrefix(p.Metric, "fluxkeep_") {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
		}
	}
}

// use sends requests with confidential text in every part.
func use(t testing.TB, ts *testServer) {
	t.Helper()
	do := func(method, path, body string, headers ...string) {
		t.Helper()
		if _, err := ts.try(method, path, body, headers...); err != nil {
			t.Fatal(err)
		}
	}
	do("GET", ts.secrets()+"/values?name="+secretName, "")
	do("DELETE", ts.secrets()+"/"+secretName+"-2", "")
	do("PATCH", ts.secrets(), `{"`+secretName+`":7}`)
	do("GET", "/v1/secret/data/"+ts.org, "", "X-Vault-Token", ts.token)
	do("GET", "/"+secretName, "")
	do("GET", "/v1/"+secretName, "")
	do("GET", "/api/v2/orgs?org="+secretName, "")
	do("GET", "/api/v2/me", "", "Authorization", "Token "+secretValue, "X-Request-Id", secretName, "User-Agent", secretName)
	do("POST", "/api/v2/signin", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ann:"+password)))
	do(secretName, "/api/v2/me", "", "Zap-Trace-Span", `{"trace_id":"1","baggage":{"`+secretName+`":"`+secretValue+`"}}`)
	req, err := http.NewRequest("GET", ts.url+"/api/v2/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = secretName
	if res, err := ts.client.Do(req); err == nil {
		res.Body.Close()
	}
}

// Operators see all settings, and the same version of InfluxDB everywhere.
func TestServedSettings(t *testing.T) {
	c := testConfig(t, filepath.Join(t.TempDir(), "data"))
	c.Version = "v0.1.0+dirty" // a header can't contain a plus sign
	ts, err := tryStart(t, c)
	if err != nil {
		t.Fatal(err)
	}
	ts.setUp(t)
	var got struct{ Config map[string]any }
	a := ts.do(t, "GET", "/api/v2/config", "")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	ts.config.Flags().VisitAll(func(f *pflag.Flag) {
		if _, ok := got.Config[f.Name]; !ok {
			t.Errorf("%s is missing in %s", f.Name, a.body)
		}
	})
	if a := ts.do(t, "GET", "/api/v2/config", "", "Authorization", ""); a.status != http.StatusUnauthorized {
		t.Errorf("strangers see the settings: %d %s", a.status, a.body)
	}
	want := ts.do(t, "GET", "/health", "").header.Get("X-Influxdb-Version")
	for _, path := range []string{"/metrics", "/v1/sys/health", "/nothing"} {
		if got := ts.do(t, "GET", path, "").header.Get("X-Influxdb-Version"); got != want || !strings.HasPrefix(got, "v2.") {
			t.Errorf("%s says %q, /health %q", path, got, want)
		}
	}
}

func TestReady(t *testing.T) {
	ts := start(t, filepath.Join(t.TempDir(), "data"))
	if err := ts.ready(); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/ready", "/health"} {
		if a := ts.do(t, "GET", path, ""); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func checkClean(t testing.TB, what, text string, ts *testServer) {
	t.Helper()
	for _, marker := range []string{secretName, secretValue, password, ts.token, ts.org} {
		for _, form := range []string{marker, base64.StdEncoding.EncodeToString([]byte(marker)), hex.EncodeToString([]byte(marker))} {
			if strings.Contains(text, form) {
				t.Errorf("%s: %q is in it: %s", what, form, text)
			}
		}
	}
}
