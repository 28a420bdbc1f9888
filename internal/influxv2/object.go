package influxv2

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// object reads a JSON object of strings and nulls member by member, so that an
// import is never in memory as a whole. It accepts exactly what httpapi.Decode
// accepts, except that checking for duplicate names is left to the caller.
type object struct {
	src  io.Reader // nil if everything is in buf
	buf  []byte    // buf[at:] is unread
	at   int
	err  error // the error at the end of src
	size int   // size of the largest string, as encoded
}

const (
	objectBuffer = 64 << 10
	// maxString limits the encoded size of a string: each byte may be an
	// escape.
	maxString = 6*keep.MaxValue + 2
)

func newObject(body []byte) *object {
	return &object{buf: body, err: io.EOF, size: len(body)}
}

func newObjectReader(r io.Reader) *object {
	return &object{src: r, buf: make([]byte, 0, objectBuffer), size: maxString}
}

// each calls fn with every member, with a nil value for null. It returns the
// first error: from fn, from the reader, or about invalid text.
func (o *object) each(fn func(name string, value *string) error) error {
	if c, err := o.next(); err != nil {
		return err // io.EOF if src is empty
	} else if c != '{' {
		return o.wrongKind("map[string]string")
	}
	o.at++
	c, err := o.nextRequired()
	if err != nil {
		return err
	}
	if c == '}' {
		o.at++
		return o.end()
	}
	for {
		if c != '"' {
			return syntax(c, "looking for beginning of object key string")
		}
		name, err := o.str()
		if err != nil {
			return err
		}
		if c, err = o.nextRequired(); err != nil {
			return err
		} else if c != ':' {
			return syntax(c, "after object key")
		}
		o.at++
		value, err := o.value()
		if err != nil {
			return err
		}
		if err := fn(name, value); err != nil {
			return err
		}
		if c, err = o.nextRequired(); err != nil {
			return err
		}
		o.at++
		switch c {
		case '}':
			return o.end()
		case ',':
		default:
			return syntax(c, "after object key:value pair")
		}
		if c, err = o.nextRequired(); err != nil {
			return err
		}
	}
}

func (o *object) value() (*string, error) {
	c, err := o.nextRequired()
	if err != nil {
		return nil, err
	}
	switch c {
	case '"':
		s, err := o.str()
		return &s, err
	case 'n':
		return nil, o.null()
	}
	return nil, o.wrongKind("string")
}

func (o *object) null() error {
	for _, want := range []byte("null") {
		if o.at == len(o.buf) && !o.fill() {
			return o.ended()
		}
		if c := o.buf[o.at]; c != want {
			return syntax(c, "in literal null (expecting '"+string(want)+"')")
		}
		o.at++
	}
	return nil
}

// str reads a string, whose opening quote is next.
func (o *object) str() (string, error) {
	i, escaped := o.at+1, false
	for {
		for i < len(o.buf) {
			c := o.buf[i]
			if c == '"' {
				raw := o.buf[o.at+1 : i]
				o.at = i + 1
				return decodeText(raw, escaped)
			}
			if c < 0x20 {
				return "", syntax(c, "in string literal")
			}
			if c == '\\' {
				escaped = true
				i++
			}
			i++
		}
		read := i - o.at
		if read > o.size {
			return "", &keep.Error{Code: keep.CodeTooLarge, Message: fmt.Sprintf("a secret's value is longer than %d bytes", keep.MaxValue)}
		}
		if !o.fill() {
			return "", o.ended()
		}
		i = o.at + read
	}
}

// next returns the next byte that isn't white space, without consuming it.
func (o *object) next() (byte, error) {
	for {
		for ; o.at < len(o.buf); o.at++ {
			switch c := o.buf[o.at]; c {
			case ' ', '\t', '\r', '\n':
			default:
				return c, nil
			}
		}
		if !o.fill() {
			return 0, o.err
		}
	}
}

// nextRequired is next where the text must not end.
func (o *object) nextRequired() (byte, error) {
	c, err := o.next()
	if err != nil {
		return 0, o.ended()
	}
	return c, nil
}

func (o *object) ended() error {
	if o.err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return o.err
}

// end checks that nothing follows the object.
func (o *object) end() error {
	_, err := o.next()
	switch err {
	case io.EOF:
		return nil
	case nil:
		return errors.New("invalid text after the JSON document")
	}
	return err
}

// fill reads more. It discards consumed bytes and moves the rest to the start
// of the buffer.
func (o *object) fill() bool {
	if o.err != nil {
		return false
	}
	n := copy(o.buf[:cap(o.buf)], o.buf[o.at:])
	o.buf, o.at = o.buf[:n], 0
	if n == cap(o.buf) {
		o.buf = append(make([]byte, 0, 2*cap(o.buf)), o.buf...)
	}
	for range 100 { // a reader may return nothing, but not forever
		n, err := o.src.Read(o.buf[len(o.buf):cap(o.buf)])
		o.buf, o.err = o.buf[:len(o.buf)+n], err
		if n > 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
	o.err = io.ErrNoProgress
	return false
}

// wrongKind returns encoding/json's error for a value that isn't of the type.
func (o *object) wrongKind(typ string) error {
	kind := ""
	switch c := o.buf[o.at]; {
	case c == '{':
		kind = "object"
	case c == '[':
		kind = "array"
	case c == '"':
		kind = "string"
	case c == 't' || c == 'f':
		kind = "bool"
	case c == '-' || c >= '0' && c <= '9':
		kind = "number"
	case c == 'n':
		if err := o.null(); err != nil {
			return err
		}
		return errors.New("an object is needed, not null")
	default:
		return syntax(c, "looking for beginning of value")
	}
	return errors.New("json: cannot unmarshal " + kind + " into Go value of type " + typ)
}

func syntax(c byte, where string) error {
	quoted := strconv.Quote(string(rune(c)))
	switch c {
	case '\'':
		quoted = `"\'"`
	case '"':
		quoted = `"""`
	}
	return errors.New("invalid character '" + quoted[1:len(quoted)-1] + "' " + where)
}

var (
	errUTF8      = errors.New("invalid UTF-8")
	errSurrogate = errors.New(`invalid \u escape: half of a surrogate pair`)
)

// decodeText decodes the text between two quotes.
func decodeText(raw []byte, escaped bool) (string, error) {
	if !utf8.Valid(raw) {
		return "", errUTF8
	}
	if !escaped {
		return string(raw), nil
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		i++ // another byte follows: the closing quote was not escaped
		switch c := raw[i]; c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, n, err := unicodeEscape(raw[i+1:])
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			i += n
		default:
			return "", syntax(c, "in string escape code")
		}
	}
	return string(out), nil
}

// unicodeEscape reads the digits of a \u escape, and the second half of a
// surrogate pair if there is one. It returns the number of bytes read.
func unicodeEscape(b []byte) (r rune, n int, err error) {
	if r, err = hex4(b); err != nil || !utf16.IsSurrogate(r) {
		return r, 4, err
	}
	if len(b) >= 6 && b[4] == '\\' && b[5] == 'u' {
		low, err := hex4(b[6:])
		if err != nil {
			return 0, 0, err
		}
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			return r, 10, nil
		}
	}
	return 0, 0, errSurrogate
}

func hex4(b []byte) (r rune, err error) {
	for i := range 4 {
		if i >= len(b) {
			return 0, syntax('"', `in \u hexadecimal character escape`)
		}
		c := b[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, syntax(c, `in \u hexadecimal character escape`)
		}
		r = r<<4 | rune(c)
	}
	return r, nil
}
