package e2e

import (
	"bytes"
	"path/filepath"
	"regexp"
	"testing"
)

// TestSchemathesis compares the server with the OpenAPI document that it serves.
// Schemathesis generates thousands of requests from the document: valid ones, which
// must be accepted, and invalid ones, which must be refused. Their number is limited by
// testdata/schemathesis, not by a time. All of its checks are
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
	operations := regexp.MustCompile(`Selected: (\d+)/(\d+)\s+Tested: (\d+)`).FindSubmatch(out)
	if operations == nil {
		t.Fatal("it doesn't report what it tested")
	}
	if all := operations[2]; !bytes.Equal(operations[1], all) || !bytes.Equal(operations[3], all) {
		t.Errorf("of %s operations, it selected %s and tested %s", all, operations[1], operations[3])
	}
	// The operator is unchanged.
	if _, err := s.operator().Me(t.Context()); err != nil {
		t.Errorf("the operator after it: %v", err)
	}
}
