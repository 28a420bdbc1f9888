package main

import (
	"math"
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{100, 2, 3}, 3},
		{[]float64{4, 1, 3, 100}, 3.5},
	} {
		before := slices.Clone(c.in)
		if got := median(c.in); got != c.want {
			t.Errorf("median of %v: got %v, want %v", c.in, got, c.want)
		}
		if !slices.Equal(c.in, before) {
			t.Errorf("the order of the rounds changed: %v", c.in)
		}
	}
}

// Ratios are per round, so that a slow moment of the machine affects both
// values.
func TestRatios(t *testing.T) {
	if got, want := ratios([]float64{10, 5, 30}, []float64{5, 2.5, 10}), []float64{2, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTenfold(t *testing.T) {
	sizes := []float64{1e3, 1e4, 1e5, 1e6}
	for _, c := range []struct {
		name string
		cost func(float64) float64
		want float64
	}{
		{"flat", func(float64) float64 { return 3 }, 1},
		{"linear", func(n float64) float64 { return 5 * n }, 10},
		{"square", func(n float64) float64 { return n * n }, 100},
		{"root", math.Sqrt, math.Sqrt(10)},
	} {
		var costs []float64
		for _, n := range sizes {
			costs = append(costs, c.cost(n))
		}
		if got := tenfold(sizes, costs); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v for each tenfold, want %v", c.name, got, c.want)
		}
	}
	var logs []float64
	for _, n := range sizes {
		logs = append(logs, math.Log2(n))
	}
	if got := tenfold(sizes, logs); got > logarithmic || got < 1.2 {
		t.Errorf("a logarithm grows by %v for each tenfold; the bound is %v", got, logarithmic)
	}
}

func TestNumber(t *testing.T) {
	for in, want := range map[float64]string{
		0: "0", 0.8: "0.800", 0.12345: "0.123", 0.0004567: "0.000457", 1: "1.00", 9.999: "10.0", 12.345: "12.3",
		-1.5: "-1.50", 123.4: "123", 999.9: "1,000", 1234.5: "1,230", 52345: "52,300", -123456: "-123,000", 1234567: "1,230,000",
	} {
		if got := number(in); got != want {
			t.Errorf("%v: got %s, want %s", in, got, want)
		}
	}
	for in, want := range map[int]string{0: "0", 11: "11", 1000: "1,000", 1_000_000: "1,000,000", -1000: "-1,000", -100: "-100"} {
		if got := count(in); got != want {
			t.Errorf("%d: got %s, want %s", in, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for in, want := range map[float64]string{0.000123: "123 µs", 0.0456: "45.6 ms", 7.891: "7.89 s", 120: "120 s"} {
		if got := span(in); got != want {
			t.Errorf("%v s: got %s, want %s", in, got, want)
		}
	}
}
