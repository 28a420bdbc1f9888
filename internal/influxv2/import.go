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
	importEntry = 128      // memory for a name and a value, without their text
	importStep  = 64 << 10 // memory is reserved in steps of this size
)

// importTime is how long receiving an import may take.
const importTime = 10 * time.Minute

// readImport reads the names and values to write. A null value removes the
// name, unless everything is replaced anyway.
func (c *call) readImport(org keep.ID, ch *keep.Change) error {
	x := httpapi.ExchangeOf(c.ctx())
	done, err := x.Import(uint64(org))
	if err != nil {
		return err
	}
	defer done()
	x.ExtendBody(importTime)
	body, err := c.openBody(c.maxImport)
	if err != nil {
		return err
	}
	ch.Set = map[string]string{}
	removed := map[string]bool{}
	var size int64 // bytes not yet reserved
	err = newObjectReader(body).each(func(name string, value *string) error {
		if _, twice := ch.Set[name]; twice || removed[name] {
			return errors.New("duplicate name in an object")
		}
		if len(ch.Set)+len(removed) == keep.MaxNames {
			return fmt.Errorf("more than %d names", keep.MaxNames)
		}
		size += importEntry + int64(len(name))
		if value != nil {
			size += int64(len(*value))
		}
		if size >= importStep {
			if err := x.Reserve(size); err != nil {
				return err
			}
			size = 0
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

// importError converts an error from reading an import.
func importError(err error) error {
	_, ours := errors.AsType[*keep.Error](err)
	_, lost := errors.AsType[*connectionError](err)
	switch {
	case err == nil, ours, errors.Is(err, httpapi.ErrTooLarge), errors.Is(err, httpapi.ErrGzip), errors.Is(err, httpapi.ErrBusy):
		return err
	case lost:
		return bodyError(err)
	}
	return invalid(badJSON + err.Error())
}

// openBody is httpapi.ReadBody for a body that must not be in memory as a
// whole.
func (c *call) openBody(limit int64) (io.Reader, error) {
	packed, err := httpapi.IsGzip(c.r)
	if err != nil {
		return nil, err
	}
	if c.r.ContentLength > limit {
		return nil, httpapi.ErrTooLarge
	}
	plain := &bodyReader{r: http.MaxBytesReader(c.w, c.r.Body, limit), control: http.NewResponseController(c.w)}
	if !packed {
		return plain, nil
	}
	z, err := gzip.NewReader(plain)
	if err != nil {
		return nil, httpapi.GzipError(err)
	}
	return &decompressor{z: z, left: limit}, nil
}

// bodyReader reads a body, and explains errors.
type bodyReader struct {
	r       io.Reader
	control *http.ResponseController
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	_, long := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
	case err == io.EOF:
		// What follows is the server's own work, which a silent client must
		// not interrupt.
		_ = b.control.SetWriteDeadline(time.Now().Add(importTime)) // fails for a writer without deadlines, which is fine
	case long:
		err = httpapi.ErrTooLarge
	default:
		err = &connectionError{err}
	}
	return n, err
}

// connectionError distinguishes a body that failed to arrive from an invalid
// one.
type connectionError struct{ err error }

func (e *connectionError) Error() string { return "read the body: " + e.err.Error() }
func (e *connectionError) Unwrap() error { return e.err }

// decompressor decompresses a body, up to a limit.
type decompressor struct {
	z    io.Reader
	left int64
}

func (d *decompressor) Read(p []byte) (int, error) {
	if d.left < 0 {
		return 0, httpapi.ErrTooLarge
	}
	if int64(len(p)) > d.left+1 {
		p = p[:d.left+1]
	}
	n, err := d.z.Read(p)
	if d.left -= int64(n); d.left < 0 {
		return 0, httpapi.ErrTooLarge
	}
	if err != nil && err != io.EOF {
		err = httpapi.GzipError(err)
	}
	return n, err
}
