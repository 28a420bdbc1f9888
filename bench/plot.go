package main

import (
	"cmp"
	"fmt"
	"image/color"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	_ "gonum.org/v1/plot/vg/vgsvg" // registers the format for plot.Save
)

// plotted is a plot and its file.
type plotted struct {
	title string
	file  string
	draw  func(*plot.Plot) error
}

const plotWidth, plotHeight = 16 * vg.Centimeter, 9 * vg.Centimeter

func (r *report) plot(ps ...plotted) { r.plots = append(r.plots, ps...) }

func (r *report) savePlots(folder string) error {
	for _, p := range r.plots {
		if err := p.save(folder); err != nil {
			return fmt.Errorf("plot %s: %w", p.file, err)
		}
	}
	return nil
}

func (p plotted) save(folder string) error {
	drawing := plot.New()
	drawing.Title.Text = p.title
	drawing.Title.Padding = 2 * vg.Millimeter
	drawing.Legend.Top, drawing.Legend.Left, drawing.Legend.Padding = true, true, vg.Millimeter/2
	for _, style := range []*text.Style{
		&drawing.Title.TextStyle, &drawing.Legend.TextStyle, &drawing.X.Label.TextStyle, &drawing.Y.Label.TextStyle,
		&drawing.X.Tick.Label, &drawing.Y.Tick.Label,
	} {
		style.Font.Variant = "Sans"
	}
	drawing.Add(plotter.NewGrid())
	if err := p.draw(drawing); err != nil {
		return err
	}
	return drawing.Save(plotWidth, plotHeight, filepath.Join(folder, p.file))
}

// Colors that people with red-green color blindness can distinguish.
func colour(i int) color.Color {
	all := []color.RGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {230, 159, 0, 255}}
	return all[i%len(all)]
}

// line adds a line with its points to a plot.
func line(p *plot.Plot, i int, name string, xys plotter.XYs, dots bool) error {
	l, s, err := plotter.NewLinePoints(xys)
	if err != nil {
		return err
	}
	l.Color, s.Color, l.Width = colour(i), colour(i), vg.Points(1.5)
	p.Add(l)
	if dots {
		p.Add(s)
	}
	if name != "" {
		p.Legend.Add(name, l)
	}
	return nil
}

// bars plots the rates of all contestants.
func bars(work string, got map[string]samples) plotted {
	file := strings.NewReplacer(", ", "-", " ", "-").Replace(strings.ToLower(work)) + ".svg"
	return plotted{title: work, file: file, draw: func(p *plot.Plot) error {
		names := slices.SortedFunc(maps.Keys(got), func(x, y string) int { // fastest first
			return cmp.Compare(median(got[y].rates()), median(got[x].rates()))
		})
		values := make(plotter.Values, len(names))
		for i, name := range names {
			values[i] = median(got[name].rates())
		}
		chart, err := plotter.NewBarChart(values, 2*vg.Centimeter)
		if err != nil {
			return err
		}
		chart.Color, chart.LineStyle.Width = colour(0), 0
		p.Add(chart)
		p.NominalX(names...)
		p.X.Min, p.X.Max = -0.5, float64(len(names))-0.5
		p.Y.Min, p.Y.Max = 0, 1.05*p.Y.Max
		p.Y.Label.Text = "requests per second"
		p.Y.Tick.Marker = readable{plot.DefaultTicks{}}
		return nil
	}}
}

// readable labels ticks with commas in large numbers, without exponents.
type readable struct{ plot.Ticker }

func (r readable) Ticks(least, most float64) []plot.Tick {
	ticks := r.Ticker.Ticks(least, most)
	for i := range ticks {
		switch v := ticks[i].Value; {
		case ticks[i].Label == "": // a minor tick
		case v >= 1:
			ticks[i].Label = count(int(math.Round(v)))
		default:
			ticks[i].Label = trim(v)
		}
	}
	return ticks
}

// sizedLine returns a measurement of servers of increasing size.
func sizedLine(servers []*sized, of func(*sized) []float64, scale float64) plotter.XYs {
	xys := make(plotter.XYs, len(servers))
	for i, s := range servers {
		xys[i].X, xys[i].Y = float64(s.names), median(of(s))*scale
	}
	return xys
}

// logarithmicAxes makes constant, logarithmic and linear growth look
// different.
func logarithmicAxes(p *plot.Plot) {
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Scale = plot.LogScale{}
		axis.Tick.Marker = readable{plot.LogTicks{Prec: -1}}
	}
	p.X.Label.Text = "secrets in the organization"
}

func growthPlot(servers []*sized) plotted {
	return plotted{title: "What an organization's size costs", file: "growth.svg", draw: func(p *plot.Plot) error {
		logarithmicAxes(p)
		p.Y.Label.Text = "milliseconds"
		for i, l := range []struct {
			name string
			of   func(*sized) []float64
		}{
			{"start to the first answer", func(s *sized) []float64 { return s.start }},
			{"first PATCH after a start", func(s *sized) []float64 { return s.firstPatch }},
			{"slowest PATCH of one after a PATCH of all", func(s *sized) []float64 { return s.filledPatch }},
			{"PATCH of one, one client", func(s *sized) []float64 { return s.patchOne }},
			{"read of one value, one client", func(s *sized) []float64 { return s.readOne }},
		} {
			if err := line(p, i, l.name, sizedLine(servers, l.of, 1e3), true); err != nil {
				return err
			}
		}
		roomForLegend(p)
		return nil
	}}
}

// roomForLegend makes room for the legend above the lines of a logarithmic
// plot.
func roomForLegend(p *plot.Plot) {
	p.Y.Min /= 2
	p.Y.Max *= 100
}

func listPlot(servers []*sized) plotted {
	return plotted{title: "List of all names", file: "list-time.svg", draw: func(p *plot.Plot) error {
		logarithmicAxes(p)
		p.Y.Label.Text = "milliseconds"
		if err := line(p, 0, "last byte", sizedLine(servers, func(s *sized) []float64 { return s.listTime }, 1e3), true); err != nil {
			return err
		}
		if err := line(p, 1, "first byte", sizedLine(servers, func(s *sized) []float64 { return s.listFirst }, 1e3), true); err != nil {
			return err
		}
		roomForLegend(p)
		return nil
	}}
}

func listMemoryPlot(servers []*sized) plotted {
	return plotted{title: "Memory", file: "list-memory.svg", draw: func(p *plot.Plot) error {
		logarithmicAxes(p)
		p.Y.Label.Text = "megabytes"
		if err := line(p, 0, "taken by a list", sizedLine(servers, func(s *sized) []float64 { return s.listMemory }, 1/megabyte), true); err != nil {
			return err
		}
		if err := line(p, 1, "resident after a round", sizedLine(servers, func(s *sized) []float64 { return s.memory }, 1/megabyte), true); err != nil {
			return err
		}
		roomForLegend(p)
		return nil
	}}
}

func soakPlots(points []point) []plotted {
	over := func(title, file, label string, scale float64, of func(point) float64) plotted {
		return plotted{title: title, file: file, draw: func(p *plot.Plot) error {
			xys := make(plotter.XYs, len(points))
			for i, x := range points {
				xys[i].X, xys[i].Y = x.at.Minutes(), of(x)*scale
			}
			p.X.Label.Text, p.Y.Label.Text, p.Y.Min = "minutes", label, 0
			if err := line(p, 0, "", xys, false); err != nil {
				return err
			}
			p.Y.Min, p.Y.Max = 0, p.Y.Max*1.2
			return nil
		}}
	}
	return []plotted{
		over("Memory under mixed load", "soak-memory.svg", "megabytes", 1/megabyte, func(p point) float64 { return p.memory }),
		over("Goroutines under mixed load", "soak-goroutines.svg", "goroutines", 1, func(p point) float64 { return p.goroutines }),
		over("File descriptors under mixed load", "soak-descriptors.svg", "file descriptors", 1, func(p point) float64 { return p.descriptors }),
	}
}
