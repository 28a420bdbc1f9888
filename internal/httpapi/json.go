package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// Decode reads one JSON document into v. It works like encoding/json's
// Decoder, with the same error messages, but refuses what that one silently
// changes or drops: text after the document, duplicate names in an object, and
// invalid UTF-8 or UTF-16.
func Decode(data []byte, v any) error {
	return decode(json.NewDecoder(bytes.NewReader(data)), data, v)
}

// DecodeKnown is like Decode, and also refuses fields that v doesn't have.
func DecodeKnown(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return decode(d, data, v)
}

func decode(d *json.Decoder, data []byte, v any) error {
	if err := d.Decode(v); err != nil {
		return err
	}
	return strict(data)
}

// strict checks a document that starts with valid JSON.
func strict(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("invalid UTF-8")
	}
	if err := loneSurrogate(data); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := noDuplicates(d); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("invalid text after the JSON document")
	}
	return nil
}

// noDuplicates reads one value and checks it for duplicate names.
func noDuplicates(d *json.Decoder) error {
	type object struct {
		names map[string]bool // nil in an array
		value bool            // a value comes next, not a name
	}
	var open []object
	for {
		t, err := d.Token()
		if err != nil {
			return err
		}
		top := len(open) - 1
		if name, ok := t.(string); ok && top >= 0 && open[top].names != nil && !open[top].value {
			if open[top].names[name] {
				return errors.New("duplicate name in an object")
			}
			open[top].names[name], open[top].value = true, true
			continue
		}
		switch t {
		case json.Delim('{'):
			open = append(open, object{names: map[string]bool{}})
			continue
		case json.Delim('['):
			open = append(open, object{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
		}
		if len(open) == 0 {
			return nil
		}
		open[len(open)-1].value = false
	}
}

var errSurrogate = errors.New(`invalid \u escape: half of a surrogate pair`)

// loneSurrogate finds a \u escape that is half of a surrogate pair, which
// encoding/json would replace.
func loneSurrogate(data []byte) error {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		i++
		if i >= len(data) || data[i] != 'u' {
			continue
		}
		u, ok := hex4(data[i+1:])
		if !ok {
			continue
		}
		i += 4
		switch {
		case u >= 0xdc00 && u < 0xe000:
			return errSurrogate
		case u >= 0xd800 && u < 0xdc00:
			rest := data[i+1:]
			if len(rest) < 2 || rest[0] != '\\' || rest[1] != 'u' {
				return errSurrogate
			}
			if low, ok := hex4(rest[2:]); !ok || low < 0xdc00 || low >= 0xe000 {
				return errSurrogate
			}
			i += 6
		}
	}
	return nil
}

func hex4(b []byte) (u uint32, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		u = u<<4 | uint32(c)
	}
	return u, true
}
