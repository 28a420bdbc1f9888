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

const (
	// firstRead is how much memory a body gets before any of it is there.
	firstRead = 64 << 10
	// inflateMemory is what it takes to unpack.
	inflateMemory = 48 << 10
	// memberMemory is what a name, a value or an element of JSON takes once it
	// is decoded, beside its text.
	memberMemory = 64
)

// ReadBody reads a request's body of at most limit bytes, and unpacks it if
// it is compressed. The memory for it, and for what JSON in it decodes to, is
// held by the request's exchange, which may refuse with ErrBusy. Any other
// error is the connection's.
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
	x := ExchangeOf(r.Context())
	body := io.Reader(http.MaxBytesReader(w, r.Body, limit))
	size := int64(bytes.MinRead)
	if packed {
		if err := x.Reserve(inflateMemory); err != nil {
			return nil, err
		}
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, GzipError(err)
		}
		body = io.LimitReader(z, limit+1)
	} else if r.ContentLength > 0 {
		// What was only announced takes no memory yet.
		size += min(r.ContentLength, firstRead)
	}
	text, err := x.readAll(body, size)
	if err != nil {
		if packed {
			err = GzipError(err)
		}
		var max *http.MaxBytesError
		if errors.As(err, &max) {
			err = ErrTooLarge
		}
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, ErrTooLarge
	}
	return text, x.Reserve(memberMemory * int64(bytes.Count(text, []byte(","))+bytes.Count(text, []byte(":"))))
}

// readAll is io.ReadAll with memory that the exchange holds.
func (x *Exchange) readAll(r io.Reader, size int64) ([]byte, error) {
	if err := x.Reserve(size); err != nil {
		return nil, err
	}
	b := make([]byte, 0, size)
	for {
		if len(b) == cap(b) {
			if err := x.Reserve(int64(cap(b))); err != nil {
				return nil, err
			}
			b = append(make([]byte, 0, 2*cap(b)), b...)
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
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
