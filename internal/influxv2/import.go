package influxv2

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fluxkeep/fluxkeep/internal/httpapi"
	"github.com/fluxkeep/fluxkeep/internal/keep"
)

const (
	// maxImports bounds how many imports are read at a time, since each may
	// take as much memory as its body is long.
	maxImports = 4
	// An import may come slowly, but has to come on.
	importPause = 30 * time.Second
	importTime  = 10 * time.Minute
)

// readImport reads the names and values to write. With null for a value the
// name is removed, unless all are replaced anyway.
func (c *call) readImport(ch *keep.Change) error {
	select {
	case c.imports <- struct{}{}:
		defer func() { <-c.imports }()
	default:
		return &keep.Error{Code: keep.CodeTooMany, Message: "too many imports at a time, try again", RetryAfter: time.Second}
	}
	body, err := c.openBody(c.maxImport)
	if err != nil {
		return err
	}
	ch.Set = map[string]string{}
	removed := map[string]bool{}
	err = newObjectReader(body).each(func(name string, value *string) error {
		if _, twice := ch.Set[name]; twice || removed[name] {
			return errors.New("duplicate name in an object")
		}
		if len(ch.Set)+len(removed) == keep.MaxNames {
			return fmt.Errorf("more than %d names", keep.MaxNames)
		}
		switch {
		case value != nil:
			ch.Set[name] = *value
		case ch.Replace:
			return errors.New("a secret's value must be a string, not null")
		default:
			removed[name] = true
			ch.Remove = append(ch.Remove, name)
		}
		return nil
	})
	return importError(err)
}

// importError makes an answer of what ended the reading of an import.
func importError(err error) error {
	var e *keep.Error
	var lost *connectionError
	switch {
	case err == nil, errors.As(err, &e), errors.Is(err, httpapi.ErrTooLarge), errors.Is(err, httpapi.ErrGzip):
		return err
	case errors.As(err, &lost):
		return bodyError(err)
	}
	return invalid(badJSON + err.Error())
}

// openBody is httpapi.ReadBody for a body that is not to be in memory as a
// whole.
func (c *call) openBody(limit int64) (io.Reader, error) {
	packed, err := httpapi.IsGzip(c.r)
	if err != nil {
		return nil, err
	}
	if c.r.ContentLength > limit {
		return nil, httpapi.ErrTooLarge
	}
	plain := &bodyReader{r: http.MaxBytesReader(c.w, c.r.Body, limit), control: http.NewResponseController(c.w), end: time.Now().Add(importTime)}
	if !packed {
		return plain, nil
	}
	z, err := gzip.NewReader(plain)
	if err != nil {
		return nil, httpapi.GzipError(err)
	}
	return &unpacked{z: z, left: limit}, nil
}

// bodyReader reads a body and gives the client more time as long as it sends.
type bodyReader struct {
	r       io.Reader
	control *http.ResponseController
	end     time.Time
}

func (b *bodyReader) Read(p []byte) (int, error) {
	deadline := time.Now().Add(importPause)
	if deadline.After(b.end) {
		deadline = b.end
	}
	_ = b.control.SetReadDeadline(deadline) // a reader without deadlines has none to move
	_ = b.control.SetWriteDeadline(deadline.Add(time.Minute))
	n, err := b.r.Read(p)
	var long *http.MaxBytesError
	switch {
	case err == nil:
	case err == io.EOF:
		// What follows is the server's own work, which the client's silence
		// must not end.
		_ = b.control.SetReadDeadline(b.end)
		_ = b.control.SetWriteDeadline(b.end)
	case errors.As(err, &long):
		err = httpapi.ErrTooLarge
	default:
		err = &connectionError{err}
	}
	return n, err
}

// connectionError tells a body that did not arrive from one that is wrong.
type connectionError struct{ err error }

func (e *connectionError) Error() string { return "read the body: " + e.err.Error() }
func (e *connectionError) Unwrap() error { return e.err }

// unpacked reads what was packed, up to a limit.
type unpacked struct {
	z    io.Reader
	left int64
}

func (u *unpacked) Read(p []byte) (int, error) {
	if u.left < 0 {
		return 0, httpapi.ErrTooLarge
	}
	if int64(len(p)) > u.left+1 {
		p = p[:u.left+1]
	}
	n, err := u.z.Read(p)
	if u.left -= int64(n); u.left < 0 {
		return 0, httpapi.ErrTooLarge
	}
	if err != nil && err != io.EOF {
		err = httpapi.GzipError(err)
	}
	return n, err
}
