package vaultkv_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fluxkeep/fluxkeep/internal/keep"
	"github.com/fluxkeep/fluxkeep/internal/keeptest"
)

func TestHealth(t *testing.T) {
	s := newServer(t, &keeptest.Options{Fresh: true})
	health := func(query string) answer {
		t.Helper()
		return s.do(t, "GET", "/v1/sys/health"+query, "", "")
	}
	if a := health("").want(t, 501); a.get(t, "initialized") != false {
		t.Errorf("before the setup: %s", a.text)
	}
	health("?uninitcode=204").want(t, 204)
	if a := s.do(t, "GET", "/v1/sys/init", "", "").want(t, 200); a.get(t, "initialized") != false {
		t.Errorf("sys/init: %s", a.text)
	}
	if a := s.do(t, "GET", "/v1/sys/seal-status", "", "").want(t, 200); a.get(t, "initialized") != false {
		t.Errorf("before the setup: %s", a.text)
	}
	if _, err := s.Setup(t.Context(), keep.Anonymous(keeptest.Origin(keep.InfluxDB)), keep.SetupRequest{User: "admin", Org: "acme", Bucket: "b"}); err != nil {
		t.Fatal(err)
	}
	a := health("?standbyok=true&perfstandbyok=true").want(t, 200)
	for path, want := range map[string]string{"initialized": "true", "sealed": "false", "standby": "false", "version": "1.2.3"} {
		if got := fmt.Sprint(a.get(t, path)); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	health("?activecode=299").want(t, 299)
	health("?activecode=x").want(t, 400)
	health("?activecode=42").want(t, 400)
	health("?activecode=1000").want(t, 400)
	for _, query := range []string{"?activecode=", "?standbycode=x", "?sealedcode=x", "?uninitcode=x", "?standbyok=x"} {
		health(query).wantErrors(t, 400)
	}
	s.do(t, "POST", "/v1/sys/health", "", "").wantErrors(t, 405)
	s.do(t, "HEAD", "/v1/sys/health", "", "").want(t, 200)
	s.do(t, "GET", "/influxd/v1/sys/health", "", "").want(t, 200)
	seal := s.do(t, "GET", "/v1/sys/seal-status", "", "").want(t, 200)
	if fmt.Sprintf("%v %v %v %v", seal.get(t, "initialized"), seal.get(t, "sealed"), seal.get(t, "t"), seal.get(t, "n")) != "true false 1 1" {
		t.Errorf("seal status is %s", seal.text)
	}
	if a := s.do(t, "GET", "/v1/sys/leader", "", "").want(t, 200); a.get(t, "ha_enabled") != false {
		t.Errorf("leader is %s", a.text)
	}
}

func TestMounts(t *testing.T) {
	s := newServer(t, nil)
	for _, path := range []string{"secret", "secret/", "secret/acme", "secret/data/acme"} {
		a := s.op(t, "GET", "/v1/sys/internal/ui/mounts/"+path, "").want(t, 200)
		if got := fmt.Sprintf("%v %v %v", a.get(t, "data", "path"), a.get(t, "data", "type"), a.get(t, "data", "options", "version")); got != "secret/ kv 2" {
			t.Errorf("%s: %s", path, got)
		}
	}
	s.op(t, "GET", "/v1/sys/internal/ui/mounts/nope/x", "").
		wantErrors(t, 403, `preflight capability check returned 403, please ensure client's policies grant access to path "nope/x/"`)
	for path, want := range map[string]string{"auth/token": "token/ token", "auth/approle/login": "approle/ approle", "sys/health": "sys/ system"} {
		a := s.op(t, "GET", "/v1/sys/internal/ui/mounts/"+path, "").want(t, 200)
		if got := fmt.Sprintf("%v %v", a.get(t, "data", "path"), a.get(t, "data", "type")); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	a := s.op(t, "GET", "/v1/sys/mounts", "").want(t, 200)
	for _, path := range [][]string{{"secret/", "options", "version"}, {"data", "secret/", "options", "version"}} {
		if got := a.get(t, path...); got != "2" {
			t.Errorf("%v is %v", path, got)
		}
	}
	b := s.op(t, "GET", "/v1/sys/internal/ui/mounts", "").want(t, 200)
	if got := fmt.Sprintf("%v %v", b.get(t, "data", "secret", "secret/", "type"), b.get(t, "data", "auth", "approle/", "type")); got != "kv approle" {
		t.Errorf("visible mounts: %s", b.text)
	}
	if a := s.op(t, "GET", "/v1/secret/config", "").want(t, 200); fmt.Sprint(a.get(t, "data")) != "map[cas_required:false delete_version_after:0s max_versions:0 metadata_cas_required:false]" {
		t.Errorf("config is %s", a.text)
	}
	s.op(t, "POST", "/v1/secret/config", `{"max_versions":5}`).wantErrors(t, 405, "1 error occurred:\n\t* unsupported operation\n\n")
}

func TestCapabilities(t *testing.T) {
	s := newServer(t, nil)
	org := s.Org.String()
	reader, writer := s.readerToken(t).Value, s.writerToken(t).Value
	limited, none := s.writerToken(t, "db-*").Value, s.MustToken(t, keep.NewToken{}).Value
	for _, c := range []struct{ token, path, want string }{
		{s.OperatorToken, "secret/data/" + org, "root"},
		{s.OperatorToken, "nope", "root"},
		{reader, "secret/data/" + org, "list read"},
		{reader, "/secret/data/acme/", "list read"},
		{reader, "secret/metadata/" + org, "list read"},
		{reader, "secret/subkeys/" + org, "read"},
		{reader, "secret/undelete/" + org, "deny"},
		{writer, "secret/data/" + org, "create delete list patch read update"},
		{writer, "secret/metadata/" + org, "create delete list patch read update"},
		{writer, "secret/delete/" + org, "update"},
		{writer, "secret/undelete/" + org, "update"},
		{writer, "secret/destroy/" + org, "update"},
		{writer, "secret/nope/" + org, "deny"},
		{writer, "secret/data/nobody", "deny"},
		{writer, "secret/data/00000000deadbeef", "deny"},
		{writer, "other/data/" + org, "deny"},
		{writer, "secret/data", "deny"},
		{writer, "secret", "deny"},
		{limited, "secret/data/" + org, "create list patch read update"},
		{limited, "secret/metadata/" + org, "list read"},
		{limited, "secret/destroy/" + org, "deny"},
		{none, "secret/data/" + org, "deny"},
		{none, "secret/metadata/", "list"},
		{none, "auth/token/lookup-self", "read"},
		{none, "auth/token/renew-self", "update"},
	} {
		a := s.do(t, "POST", "/v1/sys/capabilities-self", c.token, toJSON(t, map[string]any{"paths": []string{c.path}})).want(t, 200)
		for _, at := range [][]string{{c.path}, {"capabilities"}, {"data", c.path}, {"data", "capabilities"}} {
			var got []string
			for _, v := range a.get(t, at...).([]any) {
				got = append(got, v.(string))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s, %v: %v, want %s", c.path, at, got, c.want)
			}
		}
	}
	for _, body := range []string{`{"paths":["x","secret/config"]}`, `{"path":"x,secret/config"}`, `{"paths":[],"path":["secret/config","x"]}`} {
		a := s.do(t, "PUT", "/v1/sys/capabilities-self", none, body).want(t, 200)
		if got := fmt.Sprint(a.get(t, "data")); got != "map[secret/config:[read] x:[deny]]" {
			t.Errorf("%s: %s", body, got)
		}
	}
	// With paths, path is ignored.
	one := s.do(t, "PUT", "/v1/sys/capabilities-self", none, `{"paths":"x","path":"secret/config","token":"t","z":1}`).want(t, 200)
	if got := fmt.Sprint(one.get(t, "data"), one.get(t, "warnings")); got != "map[capabilities:[deny] x:[deny]] [Endpoint ignored these unrecognized parameters: [z]]" {
		t.Error(got)
	}
	// A path can't replace a field of the envelope.
	a := s.do(t, "POST", "/v1/sys/capabilities-self", none, `{"paths":["request_id","data"]}`).want(t, 200)
	if _, ok := a.get(t, "request_id").(string); !ok {
		t.Errorf("request_id is %v", a.get(t, "request_id"))
	}
	if got := fmt.Sprint(a.get(t, "data", "data")); got != "[deny]" {
		t.Errorf("data is %s", got)
	}
	for _, body := range []string{``, `{}`, `{"paths":[]}`, `{"paths":""}`} {
		s.op(t, "POST", "/v1/sys/capabilities-self", body).wantErrors(t, 400, "paths must be supplied")
	}
	s.op(t, "POST", "/v1/sys/capabilities-self", `{"paths":[1]}`).want(t, 400)
	s.op(t, "POST", "/v1/sys/capabilities-self", `{"paths":"`+strings.Repeat("x,", 101)+`"}`).wantErrors(t, 400, "too many paths")
}
