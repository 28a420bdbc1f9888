package server

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"

	"go.opentelemetry.io/otel/trace"
)

// uint128 is the number that an ID in a trace header stands for.
type uint128 struct{ high, low uint64 }

func (n uint128) traceID() (id trace.TraceID) {
	binary.BigEndian.PutUint64(id[:8], n.high)
	binary.BigEndian.PutUint64(id[8:], n.low)
	return id
}

// spanID keeps the low half: a span's ID has 64 bits.
func (n uint128) spanID() (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], n.low)
	return id
}

// parseHexID reads up to 32 hexadecimal digits of any case, and any number of
// zeros before them.
func parseHexID(s string) (n uint128, ok bool) {
	for i := range len(s) {
		d := hexDigit(s[i])
		if d > 0xf || n.high>>60 != 0 {
			return uint128{}, false
		}
		n.high = n.high<<4 | n.low>>60
		n.low = n.low<<4 | uint64(d)
	}
	return n, s != ""
}

func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// parseDecimalID reads a number below 2¹²⁸.
func parseDecimalID(s string) (n uint128, ok bool) {
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return uint128{}, false
		}
		over, high := bits.Mul64(n.high, 10)
		carry, low := bits.Mul64(n.low, 10)
		low, c1 := bits.Add64(low, uint64(c-'0'), 0)
		high, c2 := bits.Add64(high, carry, c1)
		if over != 0 || c2 != 0 {
			return uint128{}, false
		}
		n = uint128{high, low}
	}
	return n, s != ""
}

// parseJSONID reads an ID of so many bits as it stands in JSON. A number is
// decimal. A string is hexadecimal, as InfluxDB writes it, unless it has more
// digits than the ID has and so must be decimal.
func parseJSONID(raw json.RawMessage, width int) (uint128, bool) {
	fits := func(n uint128) bool { return width == 128 || n.high == 0 }
	if len(raw) == 0 || raw[0] != '"' {
		n, ok := parseDecimalID(string(raw))
		return n, ok && fits(n)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return uint128{}, false
	}
	if n, ok := parseHexID(s); ok && fits(n) {
		return n, true
	}
	n, ok := parseDecimalID(s)
	return n, ok && fits(n)
}
