package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// median returns the median of at least one value.
func median(xs []float64) float64 {
	sorted := slices.Sorted(slices.Values(xs))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// percentile returns the value below which a share of at least one value lies.
func percentile(xs []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(xs))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

// ratios divides the values of each round.
func ratios(xs, ys []float64) []float64 {
	out := make([]float64, min(len(xs), len(ys)))
	for i := range out {
		out[i] = xs[i] / ys[i]
	}
	return out
}

// slope returns the slope of the line through the points on logarithmic axes:
// 0 is constant, 1 linear.
func slope(xs, ys []float64) float64 {
	var lx, ly []float64
	for i := range xs {
		lx, ly = append(lx, math.Log10(xs[i])), append(ly, math.Log10(ys[i]))
	}
	mx, my := mean(lx), mean(ly)
	var above, below float64
	for i := range lx {
		above += (lx[i] - mx) * (ly[i] - my)
		below += (lx[i] - mx) * (lx[i] - mx)
	}
	return above / below
}

// tenfold returns the factor by which ys grow while xs grow tenfold.
func tenfold(xs, ys []float64) float64 { return math.Pow(10, slope(xs, ys)) }

// number formats a number with three significant digits.
func number(x float64) string {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return fmt.Sprint(x)
	}
	x, _ = strconv.ParseFloat(strconv.FormatFloat(x, 'e', 2, 64), 64) // rounds; cannot fail
	digits := 2 - int(math.Floor(math.Log10(math.Abs(x))))
	return thousands(strconv.FormatFloat(x, 'f', max(0, digits), 64))
}

// count formats a whole number.
func count(n int) string { return thousands(strconv.Itoa(n)) }

// thousands inserts commas between groups of three digits.
func thousands(s string) string {
	for i := len(s) - 3; i > 0 && !slices.Contains([]byte(s), '.'); i -= 3 {
		if s[i-1] != '-' {
			s = s[:i] + "," + s[i:]
		}
	}
	return s
}

func perSecond(rate float64) string { return number(rate) + "/s" }

// span formats a duration in a suitable unit.
func span(seconds float64) string {
	switch d := time.Duration(seconds * float64(time.Second)); {
	case d < time.Millisecond:
		return number(seconds*1e6) + " µs"
	case d < time.Second:
		return number(seconds*1e3) + " ms"
	}
	return number(seconds) + " s"
}

const megabyte = 1e6

func megabytes(bytes float64) string { return number(bytes/megabyte) + " MB" }
