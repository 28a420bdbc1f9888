package server

import (
	"io"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
)

// strangerAnswer is how long a stranger may take for an answer, which is short.
const strangerAnswer = 10 * time.Second

// response notes what is answered, and gives the client a time to take it. The
// time begins with the answer and not with the request, so that a handler may
// wait for something as long as it has to.
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

// WriteString spares the copy that Write would need.
func (w *response) WriteString(s string) (int, error) {
	w.begin()
	n, err := io.WriteString(w.ResponseWriter, s)
	w.bytes += int64(n)
	return n, err
}

// Flush is for handlers that answer piece by piece.
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

// arm moves the deadline, unless that was done only just now.
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
