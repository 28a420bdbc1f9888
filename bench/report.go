package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// report is the result of a run.
type report struct {
	started time.Time
	took    time.Duration
	quick   bool
	machine []fact
	rows    []row
	notes   []string
	plots   []plotted
}

// fact is a line about the machine or a program.
type fact struct{ name, value string }

// row is a line of the table. Its result is the median of its values.
type row struct {
	work    string
	figure  string    // Fluxkeep's figure
	against string    // the other program and its figure
	values  []float64 // one per round, or a single one
	unit    string
	goal    bound
	missing string // why there is no result
}

// bound is a goal for a value; the zero bound is no goal.
type bound struct {
	limit float64
	least bool // a lower bound if true, otherwise an upper bound
}

func atLeast(x float64) bound { return bound{x, true} }
func atMost(x float64) bound  { return bound{x, false} }

const times = " ×"

func (g bound) String() string {
	switch {
	case g == bound{}:
		return "–"
	case g.least:
		return "≥ " + trim(g.limit)
	}
	return "≤ " + trim(g.limit)
}

// trim formats a goal without trailing zeros.
func trim(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

func (g bound) met(x float64) bool {
	if g.least {
		return x >= g.limit
	}
	return x <= g.limit
}

func (r *report) add(rows ...row) { r.rows = append(r.rows, rows...) }

func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// write prints the report as Markdown.
func (r *report) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Measured on %s\n\n", r.started.Format("2 January 2006"))
	if r.quick {
		b.WriteString("This was a quick run, to check that everything runs. **Its results are meaningless.**\n\n")
	}
	b.WriteString("| | |\n|---|---|\n")
	for _, f := range append(r.machine, fact{"Took", r.took.Round(time.Second).String()}) {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(f.name), cell(f.value))
	}
	b.WriteString("\n| work | Fluxkeep | against | median | spread | goal | met |\n|---|---|---|---|---|---|---|\n")
	for _, row := range r.rows {
		b.WriteString(row.markdown())
	}
	if len(r.notes) > 0 {
		b.WriteByte('\n')
	}
	for _, n := range r.notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	for _, p := range r.plots {
		fmt.Fprintf(&b, "\n![%s](%s)\n", p.title, p.file)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r row) markdown() string {
	if r.missing != "" {
		return cells(r.work, r.figure, r.against, "not measured", r.missing, r.goal.with(r.unit), "–")
	}
	middle := median(r.values)
	met := "–"
	if r.goal != (bound{}) {
		met = "no"
		if r.goal.met(middle) {
			met = "yes"
		}
	}
	return cells(r.work, r.figure, r.against, number(middle)+r.unit, spread(r.values), r.goal.with(r.unit), met)
}

func (g bound) with(unit string) string {
	if g == (bound{}) {
		return g.String()
	}
	return g.String() + unit
}

func spread(values []float64) string {
	if len(values) == 1 {
		return "–"
	}
	least, most := values[0], values[0]
	for _, v := range values {
		least, most = min(least, v), max(most, v)
	}
	return number(least) + "–" + number(most)
}

func cells(texts ...string) string {
	for i := range texts {
		texts[i] = cell(texts[i])
	}
	return "| " + strings.Join(texts, " | ") + " |\n"
}

// cell escapes characters that would end a table cell.
func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "\n", " ")
}
