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
	// ErrTooLarge means that a body exceeds its limit, possibly only after
	// decompression.
	ErrTooLarge = errors.New("request body too large")
	// ErrEncoding means that a body has a Content-Encoding other than gzip and
	// identity.
	ErrEncoding = errors.New("unsupported Content-Encoding")
	// ErrGzip means that a body labeled gzip is not valid gzip.
	ErrGzip = errors.New("body is not valid gzip")
)

const (
	// firstRead limits the memory that is allocated before a body arrives.
	firstRead = 64 << 10
	// inflateMemory is the memory that decompression takes.
	inflateMemory = 48 << 10
	// memberMemory is the memory that a decoded name, value or JSON element
	// takes in addition to its text.
	memberMemory = 64
)

// ReadBody reads and decompresses a request's body of at most limit bytes. The
// request's exchange accounts for the memory of the body and of the JSON
// decoded from it, and may refuse it with ErrBusy. Errors not listed above
// come from the connection.
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
		// Allocate no memory for what is only announced.
		size += min(r.ContentLength, firstRead)
	}
	text, err := x.readAll(body, size)
	if err != nil {
		if packed {
			err = GzipError(err)
		}
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			err = ErrTooLarge
		}
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, ErrTooLarge
	}
	return text, x.Reserve(memberMemory * int64(bytes.Count(text, []byte(","))+bytes.Count(text, []byte(":"))))
}

// readAll is io.ReadAll with memory that the exchange accounts for.
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

// IsGzip reports whether a request's body is compressed. It returns
// ErrEncoding for an unknown encoding.
func IsGzip(r *http.Request) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))) {
	case "", "identity":
		return false, nil
	case "gzip":
		return true, nil
	}
	return false, ErrEncoding
}

// GzipError translates an error of reading gzip: ErrGzip for invalid data, and
// ErrTooLarge if the body exceeds its limit. It returns the connection's
// errors unchanged.
func GzipError(err error) error {
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	switch {
	case tooLarge:
		return ErrTooLarge
	// No errors.Is: a wrapped error does not come from package gzip.
	case err == gzip.ErrHeader, err == gzip.ErrChecksum, err == io.EOF, err == io.ErrUnexpectedEOF, corrupt:
		return ErrGzip
	}
	return err
}
