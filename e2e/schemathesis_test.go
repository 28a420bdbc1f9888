package e2e

import (
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// TestSchemathesis compares the server with the OpenAPI document that it serves.
// Schemathesis generates thousands of requests from the document: valid ones, which
// must be accepted, and invalid ones, which must be refused. All of its checks are
// enabled, except those that testdata/schemathesis excludes with a reason.
func TestSchemathesis(t *testing.T) {
	t.Parallel()
	interpreter, packages := python(t, "schemathesis")
	s := start(t)
	r := s.setUp()
	s.set(map[string]string{s.secretName("DB"): s.private("value")})

	cmd := command(t, s.home, interpreter, "-m", "schemathesis.cli", "--config-file", s.script("schemathesis", "schemathesis.toml"),
		"run", s.url+"/api/v2/swagger.json", "--url", s.url, "--continue-on-failure", "--seed", "1")
	cmd.Env = append(cmd.Env, "PYTHONPATH="+packages, "PYTHONDONTWRITEBYTECODE=1",
		"E2E_HOOKS="+s.script("schemathesis", "hooks.py"), "E2E_USER="+s.user, "E2E_PASSWORD="+s.password, "E2E_TOKEN="+s.token,
		"E2E_TOKEN_ID="+r.Auth.ID, "E2E_USER_ID="+r.User.ID, "E2E_ORG_ID="+s.orgID)
	out, err := cmd.CombinedOutput()
	t.Logf("no request may end or change the operator's own token, user and organization: %s names another one instead\n%s",
		filepath.Join("testdata", "schemathesis", "hooks.py"), out)
	if err != nil {
		t.Errorf("schemathesis: %v", err)
	}
	cases := regexp.MustCompile(`(\d+) generated`).FindSubmatch(out)
	operations := regexp.MustCompile(`Tested: (\d+)`).FindSubmatch(out)
	if cases == nil || operations == nil {
		t.Fatal("it doesn't report what it tested")
	}
	// The cases that don't depend on chance or on the machine's speed.
	if n, err := strconv.Atoi(string(cases[1])); err != nil || n < 250 {
		t.Errorf("only %s cases, %v", cases[1], err)
	}
	if n, err := strconv.Atoi(string(operations[1])); err != nil || n < 50 {
		t.Errorf("only %s operations, %v", operations[1], err)
	}
	// The operator is unchanged.
	if _, err := s.operator().Me(t.Context()); err != nil {
		t.Errorf("the operator after it: %v", err)
	}
}
