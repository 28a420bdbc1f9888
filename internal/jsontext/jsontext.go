// Package jsontext appends JSON strings without reflection.
package jsontext

import (
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendString appends s as encoding/json does, with its HTML escapes, because
// InfluxDB and Vault use that package.
func AppendString(b []byte, s string) []byte { return standard.append(b, s) }

// AppendPrintable appends s with every character escaped that isn't printable, so
// that s can't control a terminal that shows the text.
func AppendPrintable(b []byte, s string) []byte { return printable.append(b, s) }

// rules say which characters stand for themselves.
type rules struct {
	ascii [utf8.RuneSelf]bool
	other func(r rune) bool
}

var (
	standard = newRules(
		func(c byte) bool { return c >= ' ' && c != '<' && c != '>' && c != '&' },
		func(r rune) bool { return r != '\u2028' && r != '\u2029' }) // line terminators in JavaScript
	printable = newRules(
		func(c byte) bool { return c >= ' ' && c <= '~' },
		unicode.IsPrint)
)

func newRules(ascii func(c byte) bool, other func(r rune) bool) *rules {
	t := &rules{other: other}
	for c := range byte(utf8.RuneSelf) {
		t.ascii[c] = ascii(c) && c != '"' && c != '\\'
	}
	return t
}

func (t *rules) append(b []byte, s string) []byte {
	b = append(b, '"')
	done := 0 // s[:done] is in b
	for i := 0; i < len(s); {
		r, size := rune(s[i]), 1
		if r < utf8.RuneSelf {
			if t.ascii[r] {
				i++
				continue
			}
		} else {
			r, size = utf8.DecodeRuneInString(s[i:])
			if (r != utf8.RuneError || size > 1) && t.other(r) {
				i += size
				continue
			}
		}
		b = appendEscape(append(b, s[done:i]...), r)
		i += size
		done = i
	}
	return append(append(b, s[done:]...), '"')
}

func appendEscape(b []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(b, '\\', byte(r))
	case '\b':
		return append(b, `\b`...)
	case '\f':
		return append(b, `\f`...)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	}
	if r1, r2 := utf16.EncodeRune(r); r1 != utf8.RuneError {
		return appendHex(appendHex(b, r1), r2)
	}
	return appendHex(b, r)
}

func appendHex(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}
