package e2e

import (
	"encoding/csv"
	"fmt"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/client"
)

// TestFlux evaluates Flux scripts whose secrets.get reads from the server, through
// the client module's secret service.
func TestFlux(t *testing.T) {
	t.Parallel()
	program := fluxProgram(t)
	s := startSetUp(t)
	name, value := s.secretName("db"), s.private("pw, \"quoted\"\nand ü世")
	s.set(map[string]string{name: value, s.secretName("empty"): ""})
	reader := s.newToken(client.Read)

	get := func(token, name string) (string, error) {
		t.Helper()
		return s.evaluate(program, token, fmt.Sprintf("import \"influxdata/influxdb/secrets\"\n\npassword = secrets.get(key: %q)", name), "password")
	}
	if got, err := get(reader.Token, name); err != nil || got != value {
		t.Errorf("secrets.get gives %q, %v; want %q", got, err, value)
	}
	if got, err := get(reader.Token, s.secretName("empty")); err != nil || got != "" {
		t.Errorf("secrets.get of an empty secret gives %q, %v", got, err)
	}
	if _, err := get(reader.Token, s.secretName("none")); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("secrets.get of a missing secret: %v", err)
	}
	if _, err := get(s.private("wrong"), name); err == nil || !strings.Contains(err.Error(), "unauthorized") {
		t.Errorf("with a wrong token: %v", err)
	}
	s.set(map[string]string{name: s.private("new")})
	if got, err := get(reader.Token, name); err != nil || got != s.private("new") {
		t.Errorf("after a change secrets.get gives %q, %v", got, err)
	}
}

// evaluate runs a script that defines a variable, puts it into a column, and returns the
// value.
func (s *server) evaluate(program, token, script, variable string) (string, error) {
	s.t.Helper()
	cmd := command(s.t, s.home, program)
	cmd.Env = append(cmd.Env, "INFLUX_HOST="+s.url, "INFLUX_TOKEN="+token, "INFLUX_ORG="+s.org)
	cmd.Stdin = strings.NewReader(`import "csv"
` + script + `

hosts = "
#datatype,string,long,string
#group,false,false,true
#default,_result,,
,result,table,host
,,0,web
"

csv.from(csv: hosts) |> set(key: "password", value: ` + variable + `)
`)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	r := csv.NewReader(strings.NewReader(stdout.String()))
	r.Comment, r.FieldsPerRecord = '#', -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) != 2 || len(rows[1]) != 5 || rows[0][4] != "password" {
		s.t.Fatalf("the script gives %q, %v", stdout.String(), err)
	}
	return rows[1][4], nil
}
