package main

import (
	"fmt"
	"io"

	"golang.org/x/perf/benchmath"
)

// compare tells what changed between two runs by benchstat's rules: medians with their confidence
// intervals, and a difference only where the Mann-Whitney U test finds one at 5 %. Besides the
// times themselves it compares their ratios to the limit of the same round, which a noisy machine
// spoils less.
func compare(w io.Writer, oldPath, newPath string) error {
	before, err := load(oldPath)
	if err != nil {
		return err
	}
	after, err := load(newPath)
	if err != nil {
		return err
	}
	if before.Machine.CPU != after.Machine.CPU || before.Machine.Kernel != after.Machine.Kernel {
		fmt.Fprintf(w, "Not the same machine: %v; %v\n\n", before.Machine, after.Machine)
	}
	fmt.Fprintf(w, "old: %s, %s; new: %s, %s\n\n", before.Machine.Commit,
		before.Date.Format("2006-01-02 15:04"), after.Machine.Commit,
		after.Date.Format("2006-01-02 15:04"))
	fmt.Fprint(w,
		"| | | old | new | change | of the ratio to the limit |\n|---|---|--:|--:|--:|--:|\n")
	for _, c := range after.Cases {
		old := before.find(c.Name)
		for _, row := range c.Rows {
			was := old.row(row.Who)
			a, b := was.figures(ns), row.figures(ns)
			if len(a) == 0 || len(b) == 0 || row.Kind != Ours {
				continue
			}
			sa, sb, delta := difference(a, b)
			_, _, relative := difference(old.toLimit(was), c.toLimit(row))
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", c.Name, row.Who, sa, sb, delta,
				relative)
		}
	}
	return nil
}

func difference(a, b []float64) (before, after, delta string) {
	if len(a) == 0 || len(b) == 0 {
		return "", "", ""
	}
	t := benchmath.DefaultThresholds
	x, y := benchmath.NewSample(a, &t), benchmath.NewSample(b, &t)
	sx, sy := benchmath.AssumeNothing.Summary(x, 0.95), benchmath.AssumeNothing.Summary(y, 0.95)
	c := benchmath.AssumeNothing.Compare(x, y)
	delta = c.FormatDelta(sx.Center, sy.Center) + " (" + c.String() + ")"
	return duration(sx.Center) + " " + sx.PctRangeString(), duration(sy.Center) + " " +
		sy.PctRangeString(), delta
}

func (r *Results) find(name string) Result {
	for _, c := range r.Cases {
		if c.Name == name {
			return c
		}
	}
	return Result{}
}

func (r Result) row(who string) Row {
	for _, row := range r.Rows {
		if row.Who == who {
			return row
		}
	}
	return Row{}
}

// toLimit is each round's ratio to the best limit.
func (r Result) toLimit(row Row) []float64 {
	if limit := r.best(Limit, row.Who); limit != nil {
		return row.ratios(limit)
	}
	return nil
}
