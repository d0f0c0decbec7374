package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

var colours = map[Kind]color.Color{
	Ours:  color.RGBA{0xc0, 0x39, 0x2b, 0xff},
	Peer:  color.RGBA{0x2c, 0x5f, 0x8a, 0xff},
	Note:  color.RGBA{0x99, 0x99, 0x99, 0xff},
	Limit: color.RGBA{0, 0, 0, 0xff},
}

// dots is a row of a plot: the rounds' quartiles.
type dots struct {
	plotter.XYs
	low, high float64
}

func (d dots) XError(int) (float64, float64) { return d.low, d.high }

// fonts are those that browsers have with the widths that the labels were laid out by.
const fonts = "Liberation Sans, Arial, Helvetica, sans-serif"

// plot draws each case as SVG: a dot for the median, a line for the middle half of the rounds, on a
// logarithmic scale.
func (r *Results) plot(dir string) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range r.Cases {
		p := plot.New()
		p.Title.Text = fmt.Sprintf("%s (%s, %s)", c.About, r.Machine.CPU,
			r.Date.Format("2006-01-02"))
		p.Title.TextStyle.Font.Size = 10
		p.X.Label.Text = fmt.Sprintf("time per %s; red: ShmemBox, blue: other ways between "+
			"processes, grey: within one process, black: the limit", c.Unit)
		p.X.Label.TextStyle.Font.Size = 8
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, timeTicks{}
		var names []string
		rows := c.sorted()
		for i := range rows {
			row := rows[len(rows)-1-i] // from below
			v := row.figures(ns)
			m := quantile(v, 0.5)
			if !(m > 0) {
				continue
			}
			at := plotter.XYs{{X: m, Y: float64(len(names))}}
			dot, err := plotter.NewScatter(at)
			if err != nil {
				return err
			}
			low, high := m-quantile(v, 0.25), quantile(v, 0.75)-m
			bar, err := plotter.NewXErrorBars(dots{at, low, high})
			if err != nil {
				return err
			}
			dot.Color, dot.Shape, dot.Radius = colours[row.Kind], draw.CircleGlyph{}, vg.Points(4)
			bar.Color, bar.Width = colours[row.Kind], vg.Points(1.5)
			p.Add(bar, dot)
			names = append(names, row.Who)
		}
		if len(names) == 0 {
			continue
		}
		p.Add(plotter.NewGrid())
		p.NominalY(names...)
		p.Y.Min, p.Y.Max = -0.5, float64(len(names))-0.5
		p.X.Min, p.X.Max = decades(p.X.Min, p.X.Max)
		height := vg.Length(len(names))*vg.Points(18) + vg.Points(80)
		w, err := p.WriterTo(vg.Points(560), height, "svg")
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if _, err := w.WriteTo(&b); err != nil {
			return err
		}
		svg := bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"),
			[]byte("font-family:"+fonts+";"))
		if err := os.WriteFile(filepath.Join(dir, c.Name+".svg"), svg, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// decades widens a range to powers of ten.
func decades(low, high float64) (from, to float64) {
	return math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high)))
}

// timeTicks marks the powers of ten.
type timeTicks struct{}

func (timeTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	for v := low; v <= high*1.01; v *= 10 {
		label := duration(v)
		if v < 1000 {
			label = fmt.Sprintf("%.0f ns", v)
		}
		ticks = append(ticks, plot.Tick{Value: v, Label: label})
	}
	return ticks
}
