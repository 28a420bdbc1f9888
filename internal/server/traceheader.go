package server

import (
	"context"
	"encoding/json"
	"math/big"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// The headers with which a client passes its trace. They are in net/http's canonical
// form, so a lookup is only a map access.
const (
	headerTraceparent = "Traceparent"    // W3C Trace Context, level 2
	headerUberTraceID = "Uber-Trace-Id"  // Jaeger
	headerZapSpan     = "Zap-Trace-Span" // InfluxDB's API description
)

// maxTraceHeader limits the length of a trace header.
const maxTraceHeader = 4096

// incomingTrace returns the client's span, or the zero context if it sent none.
// Malformed headers are ignored: a tracer's mistake must not fail a request.
func incomingTrace(h http.Header) trace.SpanContext {
	for _, known := range [...]struct {
		header string
		parse  func(string) (trace.SpanContext, bool)
	}{
		{headerTraceparent, parseTraceparent},
		{headerUberTraceID, parseUberTraceID},
		{headerZapSpan, parseZapSpan},
	} {
		v := h[known.header]
		if len(v) == 0 || len(v[0]) > maxTraceHeader {
			continue
		}
		if sc, ok := known.parse(v[0]); ok {
			return sc
		}
	}
	return trace.SpanContext{}
}

// parseTraceparent parses the W3C header. The accompanying tracestate header is
// ignored, since it isn't passed on.
func parseTraceparent(s string) (trace.SpanContext, bool) {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": s})
	sc := trace.SpanContextFromContext(ctx)
	return sc, sc.IsValid()
}

// parseUberTraceID parses traceid:spanid:parentid:flags, with hexadecimal IDs
// without leading zeros. Some clients escape the colons as in a URL.
func parseUberTraceID(s string) (trace.SpanContext, bool) {
	s = colons.Replace(s)
	fields := strings.Split(s, ":")
	if len(fields) != 4 {
		return trace.SpanContext{}, false
	}
	id, ok := parseID(fields[0], 16, 128)
	if !ok {
		return trace.SpanContext{}, false
	}
	span, ok := parseID(fields[1], 16, 64)
	if !ok {
		return trace.SpanContext{}, false
	}
	flags, err := strconv.ParseUint(fields[3], 16, 8)
	if err != nil {
		return trace.SpanContext{}, false
	}
	return remoteSpan(id, lowHalf(span), trace.TraceFlags(flags)&trace.FlagsSampled)
}

var colons = strings.NewReplacer("%3A", ":", "%3a", ":")

// parseZapSpan parses a JSON object with trace_id and span_id. Baggage is ignored,
// since it isn't passed on. The format has no sampling flag, so a client that sends
// it is assumed to want the trace.
func parseZapSpan(s string) (trace.SpanContext, bool) {
	var fields struct {
		Trace json.RawMessage `json:"trace_id"`
		Span  json.RawMessage `json:"span_id"`
	}
	if err := json.Unmarshal([]byte(s), &fields); err != nil {
		return trace.SpanContext{}, false
	}
	id, ok := parseJSONID(fields.Trace, 128)
	if !ok {
		return trace.SpanContext{}, false
	}
	span, ok := parseJSONID(fields.Span, 64)
	if !ok || !span.IsValid() {
		// The trace is worth having without its span. A trace's first span has
		// the low half of its ID in Jaeger, from which this header comes.
		span = id
	}
	return remoteSpan(id, lowHalf(span), trace.FlagsSampled)
}

func remoteSpan(id trace.TraceID, span trace.SpanID, flags trace.TraceFlags) (trace.SpanContext, bool) {
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: flags, Remote: true})
	return sc, sc.IsValid()
}

// parseJSONID parses a JSON value as an ID with a number of bits. A number is
// decimal. A string is hexadecimal, as InfluxDB writes it, unless it has too many
// digits and so must be decimal.
func parseJSONID(raw json.RawMessage, bits int) (trace.TraceID, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return parseID(string(raw), 10, bits)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return trace.TraceID{}, false
	}
	if id, ok := parseID(s, 16, bits); ok {
		return id, true
	}
	return parseID(s, 10, bits)
}

// parseID parses a number of at most bits bits, with any number of leading zeros.
func parseID(digits string, base, bits int) (id trace.TraceID, ok bool) {
	if strings.HasPrefix(digits, "+") || strings.HasPrefix(digits, "-") {
		return id, false
	}
	n, ok := new(big.Int).SetString(digits, base)
	if !ok || n.BitLen() > bits {
		return id, false
	}
	n.FillBytes(id[:])
	return id, true
}

func lowHalf(id trace.TraceID) trace.SpanID { return trace.SpanID(id[8:]) }
