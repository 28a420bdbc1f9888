package server

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// The headers by which a client names the trace that its request belongs to.
// They are spelt as net/http keeps them, so that looking costs no more than a
// map access.
const (
	headerTraceparent = "Traceparent"    // W3C Trace Context, level 2
	headerUberTraceID = "Uber-Trace-Id"  // Jaeger
	headerZapSpan     = "Zap-Trace-Span" // InfluxDB's API description
)

// maxTraceHeader bounds what is read of one header.
const maxTraceHeader = 4096

// incomingTrace returns the span that the client says its request belongs to;
// the zero context when it names none. What is malformed is as if it were not
// there: a tracer's mistake must not cost its user an answer.
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

// parseTraceparent reads version-traceid-parentid-flags. A version that is not
// known may have more behind the flags.
func parseTraceparent(s string) (trace.SpanContext, bool) {
	const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return trace.SpanContext{}, false
	}
	var version, flags [1]byte
	var id trace.TraceID
	var span trace.SpanID
	if !lowerHex(version[:], s[:2]) || !lowerHex(id[:], s[3:35]) || !lowerHex(span[:], s[36:52]) || !lowerHex(flags[:], s[53:55]) {
		return trace.SpanContext{}, false
	}
	switch {
	case version[0] == 0xff:
		return trace.SpanContext{}, false
	case len(s) == length:
	case version[0] == 0 || s[length] != '-':
		return trace.SpanContext{}, false
	}
	return remoteSpan(id, span, trace.TraceFlags(flags[0])&trace.FlagsSampled)
}

// lowerHex decodes text of exactly twice dst's length, of which the standard
// allows lower case only.
func lowerHex(dst []byte, text string) bool {
	if strings.ContainsAny(text, "ABCDEF") {
		return false
	}
	n, err := hex.Decode(dst, []byte(text))
	return err == nil && n == len(dst)
}

// parseUberTraceID reads traceid:spanid:parentid:flags, IDs in hexadecimal
// without leading zeros. Some clients escape the colons, as in a URL.
func parseUberTraceID(s string) (trace.SpanContext, bool) {
	s = colons.Replace(s)
	fields := strings.Split(s, ":")
	if len(fields) != 4 {
		return trace.SpanContext{}, false
	}
	id, ok := parseHexID(fields[0])
	if !ok {
		return trace.SpanContext{}, false
	}
	span, ok := parseHexID(fields[1])
	if !ok || span.high != 0 {
		return trace.SpanContext{}, false
	}
	flags, err := strconv.ParseUint(fields[3], 16, 8)
	if err != nil {
		return trace.SpanContext{}, false
	}
	return remoteSpan(id.traceID(), span.spanID(), trace.TraceFlags(flags)&trace.FlagsSampled)
}

var colons = strings.NewReplacer("%3A", ":", "%3a", ":")

// parseZapSpan reads a JSON object with trace_id and span_id. Baggage is not
// read, since it is not handed on. The format has no place for the decision
// whether to sample, so a client that sends it is taken to want the trace.
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
	if !ok || span.spanID() == (trace.SpanID{}) {
		// The trace is worth having without its span. A trace's first span has
		// the low half of its ID in Jaeger, from which this header comes.
		span = id
	}
	return remoteSpan(id.traceID(), span.spanID(), trace.FlagsSampled)
}

func remoteSpan(id trace.TraceID, span trace.SpanID, flags trace.TraceFlags) (trace.SpanContext, bool) {
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: flags, Remote: true})
	return sc, sc.IsValid()
}
