package main

import (
	"strings"
	"testing"
	"time"
)

const wrkHead = `Running 1s test @ http://127.0.0.1:8086
  2 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.27ms    1.08ms  16.73ms   88.02%
    Req/Sec    13.94k     2.34k   19.73k    70.00%
  27744 requests in 1.00s, 9.05MB read
Requests/sec:  27726.81
Transfer/sec:      9.04MB

`

func TestParseWrk(t *testing.T) {
	got, err := parseWrk([]byte(wrkHead + `bench {"requests":27744,"microseconds":500000,"connect":0,"read":0,"write":0,"status":0,"timeout":0,"mean":1271.5,"p50":1002,"p99":5180}` + "\n"))
	want := sample{
		requests: 27744, rate: 55488,
		mean: 1271500 * time.Nanosecond, p50: 1002 * time.Microsecond, p99: 5180 * time.Microsecond,
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// TestParseWrkFailures checks that failed loads have no rate.
func TestParseWrkFailures(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"no report", "", "printed no report"},
		{"refused", `bench {"requests":9,"microseconds":1000,"status":9}`, "9 of 9 requests failed"},
		{"one refused", `bench {"requests":9,"microseconds":1000,"status":1}`, "1 of 9 requests failed"},
		{"broken off", `bench {"requests":9,"microseconds":1000,"read":2,"timeout":1}`, "3 of 9 requests failed"},
		{"unreachable", `bench {"requests":0,"microseconds":1000,"connect":32}`, "32 of 0 requests failed"},
		{"not written", `bench {"requests":9,"microseconds":1000,"write":1}`, "1 of 9 requests failed"},
		{"nothing", `bench {"requests":0,"microseconds":1000}`, "no request was answered"},
		{"no time", `bench {"requests":9,"microseconds":0}`, "no request was answered"},
		{"no JSON", `bench {"requests":`, "wrk's report"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := parseWrk([]byte(wrkHead + c.line + "\n"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v; want the error %q", s, err, c.want)
			}
		})
	}
}

func TestLua(t *testing.T) {
	for in, want := range map[string]string{
		"plain":            `"plain"`,
		`{"%s":"%s"}`:      `"{\034%s\034:\034%s\034}"`,
		"a\\b\nc\x00ü\x7f": `"a\092b\010c\000\195\188\127"`,
	} {
		if got := lua(in); got != want {
			t.Errorf("lua(%q) is %s, want %s", in, got, want)
		}
	}
}
