package server

import (
	"io"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

// strangerAnswer is how long a stranger may take to read a response, which is
// short.
const strangerAnswer = 10 * time.Second

// response records the status and size of a response, and limits the time that the
// client has to read it. The time starts with the response rather than the request,
// so a handler may wait as long as it has to.
type response struct {
	http.ResponseWriter
	status  int
	bytes   int64
	timeout time.Duration
	client  *httpapi.Exchange // knows who the client is
	armed   time.Time         // when the write deadline was set last
}

func (w *response) WriteHeader(status int) {
	w.arm()
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	w.begin()
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// WriteString avoids a copy.
func (w *response) WriteString(s string) (int, error) {
	w.begin()
	n, err := io.WriteString(w.ResponseWriter, s)
	w.bytes += int64(n)
	return n, err
}

// Flush is for handlers that stream a response.
func (w *response) Flush() {
	w.begin()
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) begin() {
	w.arm()
	if w.status == 0 {
		w.status = http.StatusOK
	}
}

// arm extends the deadline, unless it did so a moment ago.
func (w *response) arm() {
	now, timeout := time.Now(), w.timeout
	if !w.client.Known() {
		timeout = min(timeout, strangerAnswer)
	}
	if now.Sub(w.armed) < timeout/8 {
		return
	}
	w.armed = now
	if d, ok := w.ResponseWriter.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(now.Add(timeout)) // fails on a closed connection, as the write will
	}
}
