package influxv2

import (
	_ "embed"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/acl"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// description is the OpenAPI description of exactly what is served.
//
//go:embed openapi.json
var description []byte

func (c *call) serveDescription() error {
	send(c.w, http.StatusOK, description)
	return nil
}

// serviceLinks lists the API's addresses that are served here; InfluxDB lists
// more.
func serviceLinks() []byte {
	b, err := json.Marshal(map[string]any{
		"authorizations": "/api/v2/authorizations",
		"config":         "/api/v2/config",
		"me":             "/api/v2/me",
		"orgs":           "/api/v2/orgs",
		"resources":      "/api/v2/resources",
		"setup":          "/api/v2/setup",
		"signin":         "/api/v2/signin",
		"signout":        "/api/v2/signout",
		"swagger":        "/api/v2/swagger.json",
		"system":         map[string]string{"health": "/health", "metrics": "/metrics", "ready": "/ready"},
		"users":          "/api/v2/users",
	})
	if err != nil { // can't happen for a map of strings
		return nil
	}
	return append(b, '\n')
}

func (c *call) serveLinks() error {
	send(c.w, http.StatusOK, c.links)
	return nil
}

// ping reports that the server is up. InfluxDB's also has the Vary header.
func (c *call) ping() error {
	c.w.Header().Set("Vary", "Accept-Encoding")
	return c.noContent()
}

func (c *call) pingOptions() error {
	c.w.Header().Set("Vary", "Accept-Encoding")
	c.w.Header().Set("Allow", "GET, HEAD, OPTIONS")
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// check is the result of one check.
type check struct {
	Name    string `json:"name"`
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

func newCheck(name string, err error) check {
	if err == nil {
		return check{Name: name, Status: "pass"}
	}
	// Everyone can read this; the details are in the server's log.
	message := "not ready"
	if e, ok := errors.AsType[*keep.Error](err); ok {
		message = e.Message
	}
	return check{name, "fail", message}
}

// checks returns the checks that the server needs to pass, and warnings for the
// operator.
func (c *call) checks() (all []check, failed string) {
	log := newCheck("audit-log", c.keep.Writable())
	if warnings := c.keep.AuditWarnings(); log.Status == "pass" && len(warnings) > 0 {
		log.Status, log.Message = "warn", strings.Join(warnings, "; ")
	}
	all = []check{log, newCheck("server", c.config.Ready())}
	for _, one := range all {
		if one.Status == "fail" && failed == "" {
			failed = one.Message
		}
	}
	for _, w := range c.config.Warnings() {
		one := newCheck(w.Name, w.Err)
		if w.Err != nil {
			one.Status = "warn"
		}
		all = append(all, one)
	}
	return all, failed
}

func (c *call) health() error {
	type answer struct {
		Name    string  `json:"name"`
		Status  string  `json:"status"`
		Message string  `json:"message"`
		Checks  []check `json:"checks"`
		Version string  `json:"version"`
		Commit  string  `json:"commit"`
	}
	all, failed := c.checks()
	if failed != "" {
		return c.respondLine(http.StatusServiceUnavailable, answer{"fluxkeep", "fail", failed, all, c.config.Version, c.config.Commit})
	}
	message := "healthy"
	for _, one := range all {
		if one.Status == "warn" {
			message += "; " + one.Name + ": " + one.Message
		}
	}
	return c.respondLine(http.StatusOK, answer{"fluxkeep", "pass", message, all, c.config.Version, c.config.Commit})
}

func (c *call) ready() error {
	type answer struct {
		Status  string    `json:"status"`
		Started time.Time `json:"started"`
		Up      string    `json:"up"`
		Checks  []check   `json:"checks,omitempty"`
	}
	up := time.Since(c.config.Started).String()
	if all, failed := c.checks(); failed != "" {
		return c.respondLine(http.StatusServiceUnavailable, answer{"starting", c.config.Started, up, all})
	}
	return c.respondLine(http.StatusOK, answer{"ready", c.config.Started, up, nil})
}

// listResources names the resource types that permissions can have.
func (c *call) listResources() error {
	c.w.Header().Set("Content-Type", "application/json") // without charset, as in InfluxDB
	return c.respondLine(http.StatusOK, acl.Types())
}

func (c *call) getConfig() error {
	err := c.keep.AllowOperator(c.ctx(), c.caller, "configuration.read")
	if errors.Is(err, keep.ErrNotOperator) {
		return &keep.Error{Code: keep.CodeUnauthorized, Message: "access to /api/v2/config requires operator permissions"}
	}
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, map[string]any{"config": c.config.Settings()})
}
