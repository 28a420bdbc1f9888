package vaultkv

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/jsontext"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// respond sends Vault's envelope with the data that fill appends. It is
// encoded by hand because reading a document is the most frequent request.
func (c *call) respond(status int, warnings []string, fill func([]byte) []byte) error {
	return c.envelope(status, warnings, "null", func(b []byte, _ httpapi.Sender) []byte { return fill(b) })
}

// respondLong is respond for data that may be long.
func (c *call) respondLong(status int, warnings []string, fill func([]byte, httpapi.Sender) []byte) error {
	return c.envelope(status, warnings, "null", fill)
}

func (c *call) envelope(status int, warnings []string, auth string, fill func([]byte, httpapi.Sender) []byte) error {
	warn := "null"
	if len(warnings) > 0 {
		b, err := json.Marshal(warnings)
		if err != nil {
			return err
		}
		warn = string(b)
	}
	setHeaders(c.w.Header())
	c.buffers.Answer(c.w, status, func(b []byte, send httpapi.Sender) []byte {
		b = append(b, `{"request_id":"`...)
		b = append(b, c.id...)
		b = append(b, `","lease_id":"","renewable":false,"lease_duration":0,"data":`...)
		b = fill(b, send)
		b = append(b, `,"wrap_info":null,"warnings":`...)
		b = append(b, warn...)
		b = append(b, `,"auth":`...)
		b = append(b, auth...)
		return append(b, '}', '\n')
	})
	return nil
}

// respondJSON sends Vault's envelope around data.
func (c *call) respondJSON(data any, warnings ...string) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return c.respond(http.StatusOK, warnings, func(dst []byte) []byte { return append(dst, b...) })
}

// respondBoth sends data both in the envelope and at the top level, as the
// oldest parts of Vault's API do.
func (c *call) respondBoth(data map[string]any, warnings []string) error {
	all := map[string]any{
		"request_id": c.id, "lease_id": "", "renewable": false, "lease_duration": 0,
		"wrap_info": nil, "warnings": warnings, "auth": nil,
	}
	for name, value := range data {
		if _, taken := all[name]; !taken {
			all[name] = value
		}
	}
	all["data"] = data
	return c.sendJSON(http.StatusOK, all)
}

// sendJSON sends a response without an envelope.
func (c *call) sendJSON(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	send(c.w, status, append(b, '\n'))
	return nil
}

// send writes a complete response.
func send(w http.ResponseWriter, status int, body []byte) {
	setHeaders(w.Header())
	if len(body) > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	w.Write(body)
}

func setHeaders(h http.Header) {
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
}

// noContent sends 204 No Content. As in Vault, it doesn't warn about unknown
// fields.
func (c *call) noContent() error {
	send(c.w, http.StatusNoContent, nil)
	return nil
}

func appendNull(b []byte) []byte { return append(b, "null"...) }

// appendDocument appends the data of a document response.
func appendDocument(b []byte, send httpapi.Sender, d *keep.Document) []byte {
	b = append(b, `{"data":`...)
	if d.Version.Hidden {
		b = append(b, "null"...)
	} else {
		b = append(b, '{')
		for i := range d.Secrets {
			if i > 0 {
				b = append(b, ',')
			}
			if len(b) >= httpapi.PartSize {
				b = send(b)
			}
			b = jsontext.AppendString(b, d.Secrets[i].Name)
			b = append(b, ':')
			b = jsontext.AppendString(b, d.Secrets[i].Value)
		}
		b = append(b, '}')
	}
	b = append(b, `,"metadata":`...)
	b = appendVersion(b, &d.Version, d.Custom)
	return append(b, '}')
}

// appendVersion appends the metadata of one version.
func appendVersion(b []byte, v *keep.VersionInfo, custom map[string]string) []byte {
	b = append(b, `{"created_time":`...)
	b = appendTime(b, v.Created)
	b = append(b, `,"custom_metadata":`...)
	b = appendCustom(b, custom)
	b = append(b, `,"deletion_time":`...)
	b = appendTime(b, v.Deleted)
	b = append(b, `,"destroyed":`...)
	b = strconv.AppendBool(b, v.Destroyed)
	b = append(b, `,"version":`...)
	b = appendUint(b, v.Number)
	return append(b, '}')
}

func appendCustom(b []byte, custom map[string]string) []byte {
	if len(custom) == 0 {
		return append(b, "null"...)
	}
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(custom)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsontext.AppendString(b, name)
		b = append(b, ':')
		b = jsontext.AppendString(b, custom[name])
	}
	return append(b, '}')
}

// appendTime appends a time, "" if zero.
func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	if !t.IsZero() {
		b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	}
	return append(b, '"')
}

func appendUint(b []byte, v uint64) []byte { return strconv.AppendUint(b, v, 10) }
