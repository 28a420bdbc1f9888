package httpapi

import (
	"bytes"
	"compress/flate"
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
	packed, err := IsGzip(r)
	if err != nil {
		return nil, err
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
			return nil, GzipError(err)
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
			err = GzipError(err)
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

// IsGzip reports whether a request's body is compressed, or returns
// ErrEncoding.
func IsGzip(r *http.Request) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))) {
	case "", "identity":
		return false, nil
	case "gzip":
		return true, nil
	}
	return false, ErrEncoding
}

// GzipError returns ErrGzip for what package gzip finds wrong with a body,
// ErrTooLarge when the body was cut off at its limit, and any other error,
// which is the connection's, as it is.
func GzipError(err error) error {
	var max *http.MaxBytesError
	var corrupt flate.CorruptInputError
	switch {
	case errors.As(err, &max):
		return ErrTooLarge
	// Without errors.Is: where one of these is wrapped, it is not gzip's.
	case err == gzip.ErrHeader, err == gzip.ErrChecksum, err == io.EOF, err == io.ErrUnexpectedEOF, errors.As(err, &corrupt):
		return ErrGzip
	}
	return err
}
