package influxv2

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

// contentJSON is shared by all responses; net/http doesn't change it.
var contentJSON = []string{"application/json; charset=utf-8"}

// marshal encodes JSON as InfluxDB's handlers do: indented with tabs, without
// a final newline.
func marshal(v any) ([]byte, error) { return json.MarshalIndent(v, "", "\t") }

// respond sends JSON.
func (c *call) respond(status int, v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	send(c.w, status, b)
	return nil
}

// respondList sends JSON that may be long. Clients that are slow to take it hold
// no more memory than their share.
func (c *call) respondList(v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	if err := httpapi.ExchangeOf(c.ctx()).Reserve(int64(len(b))); err != nil {
		return err
	}
	send(c.w, http.StatusOK, b)
	return nil
}

// respondLine sends JSON on one line, as InfluxDB does outside its resource
// handlers.
func (c *call) respondLine(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	send(c.w, status, append(b, '\n'))
	return nil
}

func (c *call) noContent() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// send writes a complete response.
func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	if len(h["Content-Type"]) == 0 {
		h["Content-Type"] = contentJSON
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body) // on an error the connection is broken, and the client can't be told
}

// respondBuffered sends what fill appends. It is for the most frequent and for
// potentially long responses.
func (c *call) respondBuffered(fill func(b []byte, send httpapi.Sender) []byte) error {
	c.w.Header()["Content-Type"] = contentJSON
	c.buffers.Answer(c.w, http.StatusOK, fill)
	return nil
}
