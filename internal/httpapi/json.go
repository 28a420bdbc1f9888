package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
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
	return strict(data, d.InputOffset())
}

// strict checks a document that starts with valid JSON, of size bytes.
func strict(data []byte, size int64) error {
	if !utf8.Valid(data) {
		return errors.New("invalid UTF-8")
	}
	if err := loneSurrogate(data); err != nil {
		return err
	}
	if err := noDuplicates(data[:size]); err != nil {
		return err
	}
	if len(bytes.Trim(data[size:], " \t\r\n")) > 0 {
		return errors.New("invalid text after the JSON document")
	}
	return nil
}

// noDuplicates checks valid JSON for duplicate names. It doesn't use
// [json.Decoder.Token], which takes many times as long as decoding.
func noDuplicates(data []byte) error {
	var open []map[string]struct{} // the names of each open object so far, nil in arrays
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			open = append(open, nil)
		case '}', ']':
			open = open[:len(open)-1]
		case '"':
			text := quoted(data[i:])
			i += len(text) - 1
			if rest := bytes.TrimLeft(data[i+1:], " \t\r\n"); len(rest) == 0 || rest[0] != ':' {
				continue // a value
			}
			name, err := unquote(text)
			if err != nil {
				return err
			}
			top := len(open) - 1
			if open[top] == nil {
				open[top] = make(map[string]struct{})
			}
			names := open[top]
			if _, twice := names[name]; twice {
				return errors.New("duplicate name in an object")
			}
			names[name] = struct{}{}
		}
	}
	return nil
}

// quoted returns the string at the start of valid JSON, with its quotes.
func quoted(data []byte) []byte {
	i := 1
	for ; data[i] != '"'; i++ {
		if data[i] == '\\' {
			i++
		}
	}
	return data[:i+1]
}

// unquote decodes a valid JSON string.
func unquote(text []byte) (s string, err error) {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1]), nil
	}
	err = json.Unmarshal(text, &s)
	return s, err
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

func hex4(b []byte) (u uint16, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	return uint16(n), err == nil
}
