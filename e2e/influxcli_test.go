package e2e

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// influxCLI is InfluxDB's command line, with a configuration of its own.
type influxCLI struct {
	s    *server
	path string
}

// run runs a command, and returns what it prints to both outputs, with "; "
// between lines and ", " between columns, and whether it succeeds. IDs and
// tokens that a server chooses are replaced by words.
func (c influxCLI) run(args ...string) (shown, printed string, ok bool) {
	c.s.t.Helper()
	cmd := command(c.s.t, c.s.home, c.path, args...)
	cmd.Env = append(cmd.Env, "INFLUX_HOST="+c.s.url)
	out, err := cmd.CombinedOutput()
	printed = string(out)
	for _, token := range chosenToken.FindAllString(printed, -1) {
		c.s.confide(token)
	}
	shown = chosenID.ReplaceAllString(chosenToken.ReplaceAllString(printed, "TOKEN"), "ID")
	var lines []string
	for line := range strings.Lines(shown) {
		lines = append(lines, columns.ReplaceAllString(strings.TrimSpace(line), ", "))
	}
	return strings.Join(lines, "; "), printed, err == nil
}

var (
	chosenID    = regexp.MustCompile(`\b[0-9a-f]{16}\b`)
	chosenToken = regexp.MustCompile(`[A-Za-z0-9_-]{86}==`)
	columns     = regexp.MustCompile(`[ \t]*\t[ \t]*`)
)

func (c influxCLI) want(want string, args ...string) (printed string) {
	c.s.t.Helper()
	shown, printed, ok := c.run(args...)
	if failed := strings.HasPrefix(want, "Error: "); shown != want || ok == failed {
		c.s.t.Errorf("influx %s prints\n\t%s (success: %v)\nwant\n\t%s", strings.Join(args, " "), shown, ok, want)
	}
	return printed
}

// wantLike is want for long lists of permissions.
func (c influxCLI) wantLike(pattern string, args ...string) (printed string) {
	c.s.t.Helper()
	shown, printed, ok := c.run(args...)
	if matches, err := regexp.MatchString("^(?:"+pattern+")$", shown); err != nil || !matches || !ok {
		c.s.t.Errorf("influx %s prints\n\t%s (success: %v)\nwant what matches\n\t%s, %v", strings.Join(args, " "), shown, ok, pattern, err)
	}
	return printed
}

// TestInfluxCLI runs InfluxDB's own command line: setup, secrets,
// organizations, users and tokens.
func TestInfluxCLI(t *testing.T) {
	t.Parallel()
	path := given(t, "FLUXKEEP_INFLUX_CLI", "influx")
	s := start(t)
	c := influxCLI{s, path}
	org, db, other := s.org, s.secretName("db"), s.secretName("other")

	s.token = s.confide(s.private("operator-token"))
	c.want("User, Organization, Bucket; "+s.user+", "+org+", default",
		"setup", "-u", s.user, "-p", s.password, "-o", org, "-b", "default", "-t", s.token, "-f")
	c.want("OK", "ping")
	s.findOrg()

	c.want("Key, Organization ID", "secret", "list")
	c.want("Key, Organization ID; "+db+", ID", "secret", "update", "-k", db, "-v", s.private("pw"))
	c.want("Key, Organization ID; "+other+", ID", "secret", "update", "-k", other, "-v", s.private("-x \"'\\ ü"))
	s.wantValues(map[string]string{db: s.private("pw"), other: s.private("-x \"'\\ ü")})
	c.want("Key, Organization ID; "+db+", ID; "+other+", ID", "secret", "list")
	c.want(db+", ID; "+other+", ID", "secret", "list", "--hide-headers")
	// The command prints empty objects, whatever the server.
	c.want("[; {},; {}; ]", "secret", "list", "--json")
	s.kill()
	s.again()
	c.want("Key, Organization ID, Deleted; "+other+", ID, true", "secret", "delete", "-k", other)
	c.want("Key, Organization ID, Deleted; "+other+", ID, true", "secret", "delete", "-k", other)
	s.wantValues(map[string]string{db: s.private("pw")})
	c.want(`Error: failed to lookup org with name "nope": 404 Not Found: organization name "nope" not found`, "secret", "list", "-o", "nope")
	c.want("Error: failed to retrieve secret keys: 401 Unauthorized: unauthorized access", "secret", "list", "-t", s.private("wrong"), "--org-id", s.orgID)

	c.want("ID, Name; ID, "+org, "org", "list")
	second, renamed := s.private("second"), s.private("renamed")
	id := chosenID.FindString(c.want("ID, Name; ID, "+second, "org", "create", "-n", second, "-d", "one more"))
	c.want("ID, Name; ID, "+renamed, "org", "update", "-i", id, "-n", renamed)
	c.want("ID, Name; ID, "+renamed, "org", "list", "-i", id)
	c.want("ID, Name, Deleted; ID, "+renamed+", true", "org", "delete", "-i", id)
	c.want("ID, Name, User Type, Status; ID, "+s.user+", owner, active", "org", "members", "list", "-n", org)

	ann := s.private("ann")
	c.want("ID, Name; ID, "+s.user, "user", "list")
	id = chosenID.FindString(c.want("ID, Name; ID, "+ann, "user", "create", "-n", ann, "-p", s.private("password of ann"), "-o", org))
	c.want("ID, Name; ID, "+ann, "user", "list", "-n", ann)
	// In the order in which the answers to two requests come.
	member, owner := "; ID, "+regexp.QuoteMeta(ann)+", member, active", "; ID, "+regexp.QuoteMeta(s.user)+", owner, active"
	c.wantLike("ID, Name, User Type, Status("+member+owner+"|"+owner+member+")", "org", "members", "list", "-n", org)
	c.want(`Successfully updated password for user "`+ann+`"`, "user", "password", "-n", ann, "-p", s.private("new password of ann"))
	c.want("ID, Name, Deleted; ID, "+ann+", true", "user", "delete", "-i", id)

	const head = "ID, Description, Token, User Name, User ID, Permissions"
	admin := regexp.QuoteMeta(s.user)
	c.wantLike(head+"; ID, "+admin+"'s Token, "+admin+`, ID, \[read:/authorizations .*write:/replications\]`, "auth", "list")
	printed := c.wantLike(head+"; ID, reader, TOKEN, "+admin+`, ID, \[read:/orgs read:orgs/ID/secrets\]`,
		"auth", "create", "-o", org, "-d", "reader", "--read-orgs", "--read-secrets")
	id = chosenID.FindString(printed)
	c.want("Key, Organization ID; "+db+", ID", "secret", "list", "-t", chosenToken.FindString(printed))
	c.want("Error: failed to update secret with key \""+db+"\": 401 Unauthorized: write:orgs/ID/secrets is unauthorized",
		"secret", "update", "-k", db, "-v", "x", "-t", chosenToken.FindString(printed))
	c.wantLike(head+"; ID, TOKEN, "+admin+`, ID, \[read:orgs/ID/authorizations .*write:orgs/ID/secrets .*\]`, "auth", "create", "-o", org, "--all-access")
	c.wantLike(head+"; ID, TOKEN, "+admin+`, ID, \[read:/authorizations .*write:/secrets .*\]`, "auth", "create", "-o", org, "--operator")
	c.wantLike(head+", Deleted; ID, reader, "+admin+`, ID, \[read:/orgs read:orgs/ID/secrets\], true`, "auth", "delete", "-i", id)

	var config map[string]any
	if err := json.Unmarshal([]byte(c.wantLike(".*", "server-config")), &config); err != nil || config["log-level"] != "debug" {
		t.Errorf("server-config prints %v, %v", config, err)
	}
}

// findOrg finds out the ID of the organization that somebody has made.
func (s *server) findOrg() {
	s.t.Helper()
	org, err := s.operator().OrganizationByName(s.t.Context(), s.org)
	if err != nil {
		s.t.Fatal(err)
	}
	s.orgID = org.ID
}
