package influxv2

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

// contentJSON is shared by all answers; net/http does not change it.
var contentJSON = []string{"application/json; charset=utf-8"}

// marshal writes JSON as InfluxDB's handlers do: indented with tabs, and
// without a line break at the end.
func marshal(v any) ([]byte, error) { return json.MarshalIndent(v, "", "\t") }

// respond answers with JSON.
func (c *call) respond(status int, v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	send(c.w, status, b)
	return nil
}

// respondLine answers with JSON on one line, as InfluxDB does outside its
// handlers of resources.
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

// send writes a whole answer.
func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	if len(h["Content-Type"]) == 0 {
		h["Content-Type"] = contentJSON
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body) // an error is the connection's, and nobody is left to tell
}

// respondBuffered answers with what fill appends. It is for what is asked for
// most, and for what can be long.
func (c *call) respondBuffered(fill func(b []byte, send httpapi.Sender) []byte) error {
	c.w.Header()["Content-Type"] = contentJSON
	c.buffers.Answer(c.w, http.StatusOK, fill)
	return nil
}
