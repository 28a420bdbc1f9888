package httpapi

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
)

var (
	// ErrTooLarge says that a body is longer than it may be, also once
	// unpacked.
	ErrTooLarge = errors.New("request body too large")
	// ErrEncoding says that a body has a Content-Encoding other than gzip
	// and identity.
	ErrEncoding = errors.New("unsupported Content-Encoding")
	// ErrGzip says that a body is said to be gzip and is not.
	ErrGzip = errors.New("body is not valid gzip")
)

// firstRead is how much memory a body gets before any of it is there.
const firstRead = 64 << 10

// ReadBody reads a request's body of at most limit bytes, and unpacks it if
// it is compressed. Any other error is the connection's.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	var packed bool
	switch strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))) {
	case "", "identity":
	case "gzip":
		packed = true
	default:
		return nil, ErrEncoding
	}
	if r.ContentLength > limit {
		return nil, ErrTooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	body := io.Reader(http.MaxBytesReader(w, r.Body, limit))
	if packed {
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, gzipError(err)
		}
		body = io.LimitReader(z, limit+1)
	}
	var b bytes.Buffer
	if n := r.ContentLength; n > 0 && !packed {
		// What was only announced takes no memory yet.
		b.Grow(int(min(n, firstRead)) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(body); err != nil {
		if packed {
			err = gzipError(err)
		}
		var max *http.MaxBytesError
		if errors.As(err, &max) {
			err = ErrTooLarge
		}
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, ErrTooLarge
	}
	return b.Bytes(), nil
}

func gzipError(err error) error {
	var max *http.MaxBytesError
	switch {
	case errors.As(err, &max):
		return ErrTooLarge
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrGzip
	}
	var corrupt interface{ Error() string }
	if errors.As(err, &corrupt) && strings.HasPrefix(err.Error(), "flate:") {
		return ErrGzip
	}
	return err
}
