package server

import (
	"net/http"
	"strings"
	"testing"
)

func TestIncomingTrace(t *testing.T) {
	const (
		traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		uber        = "5b8aa5a2d2c872e8:4b8aa5a2d2c872e8:0:1"
		zap         = `{"trace_id":"1","span_id":"2","baggage":{"key":"value"}}`
	)
	zeros := strings.Repeat("0", 15)
	tests := []struct {
		name, header, value string
		traceID, spanID     string // both empty: ignored
		sampled             bool
	}{
		{"W3C", "traceparent", traceparent, "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", true},
		{"W3C not sampled", "traceparent", traceparent[:53] + "00", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", false},
		{"W3C random", "traceparent", traceparent[:53] + "03", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", true},
		{"W3C reserved flags", "traceparent", traceparent[:53] + "ff", "", "", false},
		{"W3C later version unknown flags", "traceparent", "cc" + traceparent[2:53] + "ff", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", true},
		{"W3C later version", "traceparent", "cc" + traceparent[2:] + "-more", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", true},
		{"W3C version 0 with more", "traceparent", traceparent + "-more", "", "", false},
		{"W3C later version run on", "traceparent", "cc" + traceparent[2:] + "more", "", "", false},
		{"W3C version ff", "traceparent", "ff" + traceparent[2:], "", "", false},
		{"W3C upper case", "traceparent", strings.ToUpper(traceparent), "", "", false},
		{"W3C zero trace", "traceparent", "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01", "", "", false},
		{"W3C zero span", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-" + strings.Repeat("0", 16) + "-01", "", "", false},
		{"W3C cut", "traceparent", traceparent[:54], "", "", false},
		{"W3C no hex", "traceparent", "00-0af7651916cd43dd8448eb211c80319x-b7ad6b7169203331-01", "", "", false},
		{"W3C empty", "traceparent", "", "", "", false},

		{"Jaeger", "uber-trace-id", uber, "00000000000000005b8aa5a2d2c872e8", "4b8aa5a2d2c872e8", true},
		{"Jaeger 128 bits", "uber-trace-id", "1" + zeros + "2" + zeros + ":3:0:0", "1" + zeros + "2" + zeros, zeros + "3", false},
		{"Jaeger escaped", "uber-trace-id", strings.ReplaceAll(uber, ":", "%3A"), "00000000000000005b8aa5a2d2c872e8", "4b8aa5a2d2c872e8", true},
		{"Jaeger zeros in front", "uber-trace-id", strings.Repeat("0", 40) + "a:b:0:1", strings.Repeat("0", 31) + "a", zeros + "b", true},
		{"Jaeger 129 bits", "uber-trace-id", "1" + strings.Repeat("0", 32) + ":1:0:1", "", "", false},
		{"Jaeger span of 65 bits", "uber-trace-id", "1:1" + strings.Repeat("0", 16) + ":0:1", "", "", false},
		{"Jaeger three fields", "uber-trace-id", "1:1:1", "", "", false},
		{"Jaeger zero trace", "uber-trace-id", "0:1:0:1", "", "", false},
		{"Jaeger no flags", "uber-trace-id", "1:1:0:", "", "", false},
		{"Jaeger signs", "uber-trace-id", "+1:-1:0:1", "", "", false},
		{"Jaeger no IDs", "uber-trace-id", ":::1", "", "", false},

		{"InfluxDB", "Zap-Trace-Span", zap, strings.Repeat("0", 31) + "1", zeros + "2", true},
		{"InfluxDB hexadecimal", "Zap-Trace-Span", `{"trace_id":"0AF7651916CD43DD8448EB211C80319C","span_id":"b7ad6b7169203331"}`, "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", true},
		{"InfluxDB numbers", "Zap-Trace-Span", `{"trace_id":255,"span_id":16}`, strings.Repeat("0", 30) + "ff", zeros[1:] + "10", true},
		{"InfluxDB long decimals", "Zap-Trace-Span", `{"trace_id":"340282366920938463463374607431768211455","span_id":"18446744073709551615"}`, strings.Repeat("f", 32), strings.Repeat("f", 16), true},
		{"InfluxDB too long", "Zap-Trace-Span", `{"trace_id":"340282366920938463463374607431768211456","span_id":"1"}`, "", "", false},
		{"InfluxDB no span", "Zap-Trace-Span", `{"trace_id":"abc"}`, strings.Repeat("0", 29) + "abc", zeros[2:] + "abc", true},
		{"InfluxDB odd span", "Zap-Trace-Span", `{"trace_id":"abc","span_id":{"a":[1]},"baggage":7}`, strings.Repeat("0", 29) + "abc", zeros[2:] + "abc", true},
		{"InfluxDB escapes", "Zap-Trace-Span", `{"trace_id":"\u0061b","span_id":"1"}`, strings.Repeat("0", 30) + "ab", zeros + "1", true},
		{"InfluxDB no trace", "Zap-Trace-Span", `{"span_id":"1"}`, "", "", false},
		{"InfluxDB zero", "Zap-Trace-Span", `{"trace_id":"0","span_id":"0"}`, "", "", false},
		{"InfluxDB negative", "Zap-Trace-Span", `{"trace_id":-1,"span_id":1}`, "", "", false},
		{"InfluxDB fraction", "Zap-Trace-Span", `{"trace_id":1.5,"span_id":1}`, "", "", false},
		{"InfluxDB null", "Zap-Trace-Span", `{"trace_id":null}`, "", "", false},
		{"InfluxDB array", "Zap-Trace-Span", `[]`, "", "", false},
		{"InfluxDB not JSON", "Zap-Trace-Span", `{`, "", "", false},
		{"InfluxDB empty", "Zap-Trace-Span", ``, "", "", false},
		{"InfluxDB huge", "Zap-Trace-Span", `{"trace_id":"1","span_id":"1","x":"` + strings.Repeat("x", maxTraceHeader) + `"}`, "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			h.Set(tt.header, tt.value)
			got := incomingTrace(h)
			if tt.traceID == "" {
				if got.IsValid() {
					t.Fatalf("accepted as %v %v, but should have been ignored", got.TraceID(), got.SpanID())
				}
				return
			}
			if got.TraceID().String() != tt.traceID || got.SpanID().String() != tt.spanID || got.IsSampled() != tt.sampled {
				t.Errorf("got %v %v sampled %v, want %v %v sampled %v",
					got.TraceID(), got.SpanID(), got.IsSampled(), tt.traceID, tt.spanID, tt.sampled)
			}
			if !got.IsRemote() {
				t.Error("the span is not marked as another process's")
			}
		})
	}
}

// The first valid header counts.
func TestIncomingTraceOrder(t *testing.T) {
	h := http.Header{}
	h.Set("Zap-Trace-Span", `{"trace_id":"c","span_id":"1"}`)
	want := func(last string) {
		t.Helper()
		if got := incomingTrace(h).TraceID().String(); got != strings.Repeat("0", 31)+last {
			t.Errorf("trace %s, want one that ends in %s", got, last)
		}
	}
	want("c")
	h.Set("Uber-Trace-Id", "b:1:0:1")
	want("b")
	h.Set("traceparent", "00-"+strings.Repeat("0", 31)+"a-0000000000000001-01")
	want("a")
	h.Set("traceparent", "nonsense")
	want("b")
	h.Set("Uber-Trace-Id", "nonsense")
	want("c")
}

func TestIncomingTraceCostsNothingWithout(t *testing.T) {
	h := http.Header{"Authorization": {"Token x"}, "Accept": {"*/*"}}
	if n := testing.AllocsPerRun(100, func() { incomingTrace(h) }); n > 0 {
		t.Errorf("%v allocations for a request without a trace", n)
	}
}

func FuzzIncomingTrace(f *testing.F) {
	for _, s := range []string{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"5b8aa5a2d2c872e8:5b8aa5a2d2c872e8:0:1",
		"5b8aa5a2d2c872e8%3A5b8aa5a2d2c872e8%3a0%3A1",
		`{"trace_id":"1","span_id":"1","baggage":{"key":"value"}}`,
		`{"trace_id":1,"span_id":18446744073709551615}`,
		`{"trace_id":"abc"}`, `{"trace_id":{}}`, `[]`, `{`, ``, "\x00", ":::", "-",
	} {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, parent, uber, zap string) {
		for _, h := range []http.Header{
			{headerTraceparent: {parent}}, {headerUberTraceID: {uber}}, {headerZapSpan: {zap}},
			{headerTraceparent: {parent}, headerUberTraceID: {uber}, headerZapSpan: {zap}},
		} {
			sc := incomingTrace(h)
			if sc.HasTraceID() != sc.HasSpanID() {
				t.Errorf("half a span context: trace %v, span %v", sc.TraceID(), sc.SpanID())
			}
			if sc.IsValid() && !sc.IsRemote() {
				t.Error("the span is not marked as another process's")
			}
			if sc.TraceState().Len() > 0 {
				t.Error("the span carries state of the client's")
			}
		}
	})
}
