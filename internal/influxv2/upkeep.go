package influxv2

import (
	"fmt"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// The routes for operating a running server are below /api/v2/fluxkeep, where
// InfluxDB has none.

// backup streams all stored data, still sealed.
func (c *call) backup() error {
	w := &backupWriter{c: c}
	err := c.keep.Backup(c.ctx(), c.caller, w)
	if err != nil && w.begun {
		// The status is sent: only a broken connection can show the client
		// that the backup is incomplete.
		panic(http.ErrAbortHandler)
	}
	return err
}

// backupWriter is the response with a backup. The server renews the deadline
// for each piece, so only a client that stops reading is cut off.
type backupWriter struct {
	c     *call
	begun bool
}

func (w *backupWriter) Write(p []byte) (int, error) {
	if !w.begun {
		h := w.c.w.Header()
		h.Set("Content-Type", "application/octet-stream")
		name := time.Now().UTC().Format("fluxkeep-20060102T150405Z.backup")
		h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
		w.begun = true
	}
	return w.c.w.Write(p)
}

type keysBody struct {
	Keys []keyBody `json:"keys"`
	// Rotating is true as long as records may need a key that is not primary.
	Rotating bool   `json:"rotating"`
	Done     int64  `json:"done"`
	Total    int64  `json:"total"`
	Error    string `json:"error,omitempty"`
}

type keyBody struct {
	ID        string    `json:"id"`
	Primary   bool      `json:"primary"`
	CreatedAt time.Time `json:"createdAt"`
}

func (c *call) keyStatus() error { return c.answerKeys(http.StatusOK) }

func (c *call) rotateKeys() error {
	if err := c.keep.RotateKeys(c.ctx(), c.caller); err != nil {
		return err
	}
	return c.answerKeys(http.StatusAccepted)
}

func (c *call) answerKeys(status int) error {
	s, err := c.keep.KeyStatus(c.ctx(), c.caller)
	if err != nil {
		return err
	}
	body := keysBody{Keys: make([]keyBody, len(s.Keys)), Rotating: len(s.Keys) > 1, Done: s.Done, Total: s.Total, Error: s.Err}
	for i, k := range s.Keys {
		body.Keys[i] = keyBody{fmt.Sprintf("%08x", k.ID), k.Primary, k.Created}
	}
	return c.respond(status, body)
}

type scrubBody struct {
	Running bool `json:"running"`
	// Done and Total count organizations.
	Done     int        `json:"done"`
	Total    int        `json:"total"`
	PassedAt *time.Time `json:"passedAt,omitempty"`
	Damage   []string   `json:"damage"`
}

func (c *call) scrubStatus() error {
	s, err := c.keep.ScrubStatus(c.ctx(), c.caller)
	if err != nil {
		return err
	}
	body := scrubBody{Running: s.Running, Done: s.Done, Total: s.Total, Damage: append([]string{}, s.Damage...)}
	if !s.Passed.IsZero() {
		body.PassedAt = &s.Passed
	}
	return c.respond(http.StatusOK, body)
}

type clusterBody struct {
	Changes uint64       `json:"changes"`
	Servers []serverBody `json:"servers"`
	Members []memberBody `json:"members"`
	Alarms  []string     `json:"alarms"`
}

type serverBody struct {
	ID      keep.ID   `json:"id"`
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
	Leads   bool      `json:"leads"`
	// Behind and ClockSkew are absent until the server has reported them.
	Behind    *uint64  `json:"behind,omitempty"`
	ClockSkew *float64 `json:"clockSkewSeconds,omitempty"`
}

type memberBody struct {
	Endpoint string `json:"endpoint"`
	Name     string `json:"name,omitempty"`
	Version  string `json:"version,omitempty"`
	Leader   bool   `json:"leader"`
	Size     int64  `json:"sizeBytes"`
	Quota    int64  `json:"quotaBytes"`
	Error    string `json:"error,omitempty"`
}

func (c *call) clusterStatus() error {
	s, err := c.keep.ClusterStatus(c.ctx(), c.caller)
	if err != nil {
		return err
	}
	body := clusterBody{
		Changes: s.Changes, Alarms: append([]string{}, s.Alarms...),
		Servers: make([]serverBody, len(s.Servers)), Members: make([]memberBody, len(s.Members)),
	}
	for i, v := range s.Servers {
		b := serverBody{ID: v.ID, Name: v.Name, Version: v.Version, Address: v.Address, Since: v.Since, Leads: v.Leads}
		if v.Reported {
			b.Behind, b.ClockSkew = &v.Behind, new(v.Skew.Seconds())
		}
		body.Servers[i] = b
	}
	for i, m := range s.Members {
		b := memberBody{Endpoint: m.Endpoint, Name: m.Name, Version: m.Version, Leader: m.Leader, Size: m.Size, Quota: m.Quota}
		if m.Err != nil {
			b.Error = m.Err.Error()
		}
		body.Members[i] = b
	}
	return c.respond(http.StatusOK, body)
}

func (c *call) compact() error {
	if err := c.keep.Compact(c.ctx(), c.caller); err != nil {
		return err
	}
	return c.noContent()
}
