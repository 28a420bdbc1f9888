package main

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// few is the default number of secrets in an organization.
const few = 11

// fluxkeep is the program under test, with default settings and an audit log.
type fluxkeep struct {
	*process
	api
	program  string
	folder   string
	args     []string
	password string
}

// startFluxkeep starts and sets up a server whose organization has n secrets.
func (b *bench) startFluxkeep(ctx context.Context, n int, args ...string) (*fluxkeep, error) {
	return b.startProgram(ctx, b.fluxkeep, n, args...)
}

// startProgram is startFluxkeep for a given build of the program.
func (b *bench) startProgram(ctx context.Context, program string, n int, args ...string) (*fluxkeep, error) {
	s, err := b.launch(ctx, program, args...)
	if err != nil {
		return nil, err
	}
	if err := s.setUp(ctx, s.password); err != nil {
		return nil, s.fail(err)
	}
	if err := s.fill(ctx, s.org, 0, n); err != nil {
		return nil, s.fail(err)
	}
	return s, nil
}

// launch starts a server without setting it up.
func (b *bench) launch(ctx context.Context, program string, args ...string) (_ *fluxkeep, err error) {
	s := &fluxkeep{program: program, args: args, password: newPassword()}
	if s.folder, err = b.newFolder("fluxkeep"); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s.api.url = "http://" + address
	return s, s.serve(ctx, "/health")
}

// serve runs the server and waits until it answers requests for a path.
func (s *fluxkeep) serve(ctx context.Context, path string) (err error) {
	args := append([]string{"serve", "--http-bind-address", strings.TrimPrefix(s.api.url, "http://"), "--data-dir", filepath.Join(s.folder, "data")}, s.args...)
	if s.process, err = start("fluxkeep", s.folder, s.api.url, nil, s.program, args...); err != nil {
		return err
	}
	return s.await(ctx, path, s.header())
}

// again restarts the server with the same data. It returns the time from the
// start of the process to the first answer with secret names.
func (s *fluxkeep) again(ctx context.Context, org string) (time.Duration, error) {
	http.DefaultClient.CloseIdleConnections() // to the previous process
	begin := time.Now()
	err := s.serve(ctx, secretsPath(org)+"/values?name="+secretName(0))
	return time.Since(begin), err
}

func (s *fluxkeep) fail(err error) error {
	s.stop()
	return err
}

// influxdb is an influxd that stores its own secrets.
type influxdb struct {
	*process
	api
}

func (b *bench) startInfluxDB(ctx context.Context) (*influxdb, error) {
	folder, err := b.newFolder("influxd")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &influxdb{api: api{url: "http://" + address}}
	s.process, err = start("InfluxDB", folder, s.api.url, nil, b.influxd,
		"--reporting-disabled", "--http-bind-address", address, "--engine-path", filepath.Join(folder, "engine"),
		"--bolt-path", filepath.Join(folder, "influxd.bolt"), "--sqlite-path", filepath.Join(folder, "influxd.sqlite"),
		"--log-level", "error")
	if err != nil {
		return nil, err
	}
	// /health answers before the API does.
	if err := s.await(ctx, "/api/v2/setup", nil); err != nil {
		return nil, err
	}
	if err := s.setUp(ctx, newPassword()); err != nil {
		s.stop()
		return nil, err
	}
	if err := s.fill(ctx, s.org, 0, few); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// openbao is an OpenBao server in development mode: in memory, without audit.
type openbao struct {
	*process
	token string
}

const baoDocument = "/v1/secret/data/bench"

func (b *bench) startOpenBao(ctx context.Context) (*openbao, error) {
	folder, err := b.newFolder("openbao")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &openbao{token: newPassword()}
	s.process, err = start("OpenBao", folder, "http://"+address, []string{"BAO_DEV_ROOT_TOKEN_ID=" + s.token},
		b.bao, "server", "-dev", "-dev-listen-address="+address, "-log-level=error")
	if err != nil {
		return nil, err
	}
	// The secrets engine is mounted shortly after the server answers.
	if err := s.await(ctx, "/v1/secret/config", http.Header{"X-Vault-Token": {s.token}}); err != nil {
		return nil, err
	}
	if err := s.put(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *openbao) put(ctx context.Context) error {
	a := api{url: s.url}
	q := map[string]any{"data": manySecrets(0, few)}
	return a.doWith(ctx, http.Header{"X-Vault-Token": {s.token}}, http.MethodPut, baoDocument, q, nil)
}
