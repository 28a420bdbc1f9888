package influxv2

import (
	"unicode/utf8"

	"github.com/fluxkeep/fluxkeep/internal/keep"
)

// What is asked for most is written without reflection. It comes out exactly
// as encoding/json's MarshalIndent with tabs would write it.

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string, with encoding/json's escapes: those
// for HTML included, which InfluxDB has too.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if plain(c) {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			b = appendEscape(b, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, s[start:i]...)
			b = append(b, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029': // line ends to JavaScript
			b = append(b, s[start:i]...)
			b = append(b, `\u202`...)
			b = append(b, hexDigits[r&15])
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func plain(c byte) bool {
	return c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

func appendID(b []byte, id keep.ID) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[id>>shift&15])
	}
	return b
}

// appendSecretList appends the answer that lists an organization's secrets, and
// sends parts of it when it is long.
func appendSecretList(b []byte, send sender, org keep.ID, names []string) []byte {
	b = append(b, "{\n\t\"links\": {\n\t\t\"org\": \"/api/v2/orgs/"...)
	b = appendID(b, org)
	b = append(b, "\",\n\t\t\"self\": \"/api/v2/orgs/"...)
	b = appendID(b, org)
	b = append(b, "/secrets\"\n\t},\n\t\"secrets\": ["...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		if len(b) >= partSize {
			b = send(b)
		}
		b = append(b, "\n\t\t"...)
		b = appendString(b, name)
	}
	if len(names) > 0 {
		b = append(b, "\n\t"...)
	}
	return append(b, "]\n}"...)
}

// appendSecrets appends an object with the secrets' values by their names, and
// sends parts of it when it is long.
func appendSecrets(b []byte, send sender, secrets []keep.Secret) []byte {
	b = append(b, '{')
	for i := range secrets {
		if i > 0 {
			b = append(b, ',')
		}
		if len(b) >= partSize {
			b = send(b)
		}
		b = append(b, "\n\t"...)
		b = appendString(b, secrets[i].Name)
		b = append(b, ": "...)
		b = appendString(b, secrets[i].Value)
	}
	if len(secrets) > 0 {
		b = append(b, '\n')
	}
	return append(b, '}')
}
