package main

import (
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	r := report{
		started: time.Date(2031, time.March, 4, 5, 6, 7, 0, time.UTC),
		took:    90*time.Second + 300*time.Millisecond,
		machine: []fact{{"Processor", "A|B, 2 cores"}},
	}
	r.add(
		row{work: "list", figure: "52,300/s", against: "bare 60,000/s", values: []float64{0.9, 0.7, 0.85}, unit: times, goal: atLeast(0.8)},
		row{work: "write", figure: "1/s", against: "bare 2/s", values: []float64{0.5}, unit: times, goal: atLeast(0.8)},
		row{work: "start", figure: "1.00 s", values: []float64{1, 0.9, 1.1}, unit: " s", goal: atMost(1)},
		row{work: "memory", figure: "301 MB", values: []float64{301}, unit: " MB", goal: atMost(300)},
		row{work: "crash", figure: "2 s", values: []float64{2}, unit: " s"},
		row{work: "KV", figure: "3/s", against: "OpenBao", unit: times, goal: atLeast(5), missing: notGiven},
	)
	r.note("the disk syncs %d/s", 5)
	r.plot(plotted{title: "Growth", file: "growth.svg"})
	const want = `# Measured on 4 March 2031

| | |
|---|---|
| Processor | A\|B, 2 cores |
| Took | 1m30s |

| work | Fluxkeep | against | median | spread | goal | met |
|---|---|---|---|---|---|---|
| list | 52,300/s | bare 60,000/s | 0.850 × | 0.700–0.900 | ≥ 0.8 × | yes |
| write | 1/s | bare 2/s | 0.500 × | – | ≥ 0.8 × | no |
| start | 1.00 s |  | 1.00 s | 0.900–1.10 | ≤ 1 s | yes |
| memory | 301 MB |  | 301 MB | – | ≤ 300 MB | no |
| crash | 2 s |  | 2.00 s | – | – | – |
| KV | 3/s | OpenBao | not measured | program not given | ≥ 5 × | – |

- the disk syncs 5/s

![Growth](growth.svg)
`
	var b strings.Builder
	if err := r.write(&b); err != nil || b.String() != want {
		t.Errorf("%v, written:\n%s\nwant:\n%s", err, b.String(), want)
	}
	r.quick = true
	b.Reset()
	if err := r.write(&b); err != nil || !strings.Contains(b.String(), "meaningless") {
		t.Errorf("%v, the report of a quick run does not say so:\n%s", err, b.String())
	}
}
