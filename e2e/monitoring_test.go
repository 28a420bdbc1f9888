package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const monitoring = "../examples/monitoring/"

// servedMetrics returns the names of all metrics of a server with TLS that was used.
// Histograms have the name of their family.
func servedMetrics(t *testing.T) map[string]bool {
	t.Helper()
	s := start(t, serverCertificate(t)...)
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer web.CloseIdleConnections()
	names := map[string]bool{}
	for range 2 { // the first request is counted when it has ended
		res, err := web.Get("https://" + s.address() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if words := strings.Fields(lines.Text()); len(words) > 3 && words[1] == "TYPE" {
				names[words[2]] = true
			}
		}
		_ = res.Body.Close() // it was read to its end
		if lines.Err() != nil {
			t.Fatal(lines.Err())
		}
	}
	if len(names) < 50 {
		t.Fatalf("the server has only these metrics: %v", names)
	}
	return names
}

var (
	metricName   = regexp.MustCompile(`\b(fluxkeep|go|process)_[a-z0-9_]+\b`)
	metricSuffix = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// metricsIn returns the names in a text.
func metricsIn(text string) []string {
	var names []string
	for _, name := range metricName.FindAllString(text, -1) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// alert is a rule of alerts.yml.
type alert struct {
	Alert       string
	Expr        string
	Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	readYAML(t, monitoring+"alerts.yml", &file)
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) < 10 {
		t.Fatalf("alerts.yml has %+v", file)
	}
	return file.Groups[0].Rules
}

// panel is a panel of the dashboard.
type panel struct {
	Title   string
	Targets []struct{ Expr string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal([]byte(readText(t, monitoring+"dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	return dashboard.Panels
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// clusterMetric matches the metrics that only a server with etcd has.
var clusterMetric = regexp.MustCompile("^fluxkeep_(cluster|etcd)_")

// TestMetricsAreDocumented: docs/monitoring.md has each metric of the server and each
// alert, the alerts and the dashboard use metrics that the server has.
func TestMetricsAreDocumented(t *testing.T) {
	served := servedMetrics(t)
	page := readText(t, "../docs/monitoring.md")
	for name := range served {
		if strings.HasPrefix(name, "fluxkeep_") && !strings.Contains(page, "\n| `"+name+"` | ") {
			t.Errorf("docs/monitoring.md lacks %s", name)
		}
	}
	used := map[string]string{"docs/monitoring.md": page}
	for _, a := range alerts(t) {
		used[a.Alert] = a.Expr
		if !strings.Contains(page, "\n### "+a.Alert+"\n") {
			t.Errorf("docs/monitoring.md doesn't say what to do about %s", a.Alert)
		}
		if a.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", a.Alert)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(page, -1) {
		if used[m[1]] == "" {
			t.Errorf("docs/monitoring.md has an alert that doesn't exist: %s", m[1])
		}
	}
	queries := 0
	for _, p := range panels(t) {
		for _, q := range p.Targets {
			used["panel "+p.Title] += q.Expr + "\n"
			queries++
		}
	}
	if queries < 30 {
		t.Errorf("the dashboard has only %d queries", queries)
	}
	for where, text := range used {
		for _, name := range metricsIn(text) {
			if clusterMetric.MatchString(name) { // TestCluster checks that servers have what the page has
				if !strings.Contains(page, "\n| `"+name+"` | ") {
					t.Errorf("%s uses %s, which docs/monitoring.md lacks", where, name)
				}
				continue
			}
			if !served[name] && !served[metricSuffix.ReplaceAllString(name, "")] {
				t.Errorf("%s uses %s, which the server doesn't have", where, name)
			}
		}
	}
}

// TestAlerts: Prometheus accepts the rules, each alert fires in a test, and the
// dashboard's queries can be parsed.
func TestAlerts(t *testing.T) {
	long(t, "runs promtool")
	t.Parallel()
	promtool := debianProgram(t, "promtool", "prometheus")
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = monitoring
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	tests := readText(t, monitoring+"alerts_test.yml")
	for _, a := range alerts(t) {
		if !regexp.MustCompile(`alertname: ` + a.Alert + `\n +exp_alerts:\n +- exp_labels`).MatchString(tests) {
			t.Errorf("no test makes %s fire", a.Alert)
		}
	}
	checkQueries(t, promtool)
}

// checkQueries parses the dashboard's queries as rules.
func checkQueries(t *testing.T, promtool string) {
	t.Helper()
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var rules []rule
	for _, p := range panels(t) {
		for _, q := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*", "$job", "fluxkeep").Replace(q.Expr)
			rules = append(rules, rule{"query:" + string(rune('a'+len(rules)%26)) + strings.Repeat("x", len(rules)/26), expr})
		}
	}
	b, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "check", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
