package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// good is the samples that are figures.
func (r Row) good() (s []Sample) {
	for _, x := range r.Samples {
		if x.Err == "" {
			s = append(s, x)
		}
	}
	return s
}

// median of a figure over the rounds; NaN if there is none.
func (r Row) median(f func(Sample) float64) float64 { return quantile(r.figures(f), 0.5) }

func (r Row) figures(f func(Sample) float64) (v []float64) {
	for _, s := range r.good() {
		v = append(v, f(s))
	}
	return v
}

func ns(s Sample) float64 { return s.NS }

func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	at := q * float64(len(v)-1)
	i := int(at)
	if i+1 == len(v) {
		return v[i]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}

// ratios are those of each round: both were measured within moments of each other.
func (r Row) ratios(to *Row) (v []float64) {
	for i := range min(len(r.Samples), len(to.Samples)) {
		if a, b := r.Samples[i], to.Samples[i]; a.Err == "" && b.Err == "" && b.NS > 0 {
			v = append(v, a.NS/b.NS)
		}
	}
	return v
}

// latencies is all rounds' together.
func (r Row) latencies() *hdrhistogram.Histogram {
	var all *hdrhistogram.Histogram
	for _, s := range r.good() {
		h, err := hdrhistogram.Decode(s.Hist)
		if err != nil || len(s.Hist) == 0 {
			continue
		}
		if all == nil {
			all = h
		} else {
			all.Merge(h)
		}
	}
	return all
}

// best is the fastest row of a kind to compare with who: those that work in batches are compared
// with each other, and so are those that do not. It is nil if there is none.
func (r Result) best(kind Kind, who string) (best *Row) {
	for i := range r.Rows {
		w := &r.Rows[i]
		if batched(w.Who) != batched(who) {
			continue
		}
		if m := w.median(ns); w.Kind == kind && m > 0 && (best == nil || m < best.median(ns)) {
			best = w
		}
	}
	return best
}

func batched(who string) bool { return strings.HasSuffix(who, batches) }

// sorted is the rows, ours first, then by speed, those without figures last.
func (r Result) sorted() []Row {
	order := map[Kind]int{Ours: 0, Peer: 1, Note: 2, Limit: 3}
	return slices.SortedStableFunc(slices.Values(r.Rows), func(a, b Row) int {
		x, y := a.median(ns), b.median(ns)
		if math.IsNaN(x) != math.IsNaN(y) {
			return cmp.Compare(b2i(math.IsNaN(x)), b2i(math.IsNaN(y)))
		}
		return cmp.Or(cmp.Compare(order[a.Kind], order[b.Kind]), cmp.Compare(x, y))
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (r *Results) report(w io.Writer) {
	mode := map[bool]string{true: "quick", false: "full"}[r.Quick]
	fmt.Fprintf(w, "Measured %s on: %v.\nLoad average %s before, %s after. A %s run of %v: %d "+
		"rounds of %v each, processes %s. ShmemBox %s.\n",
		r.Date.Format("2006-01-02"), r.Machine, r.Load[0], r.Load[1], mode,
		r.Took.Round(time.Second), r.Rounds, r.For,
		map[bool]string{true: "pinned", false: "not pinned"}[r.Pinned], r.Machine.Commit)
	fmt.Fprintf(w, `
A figure is the median of the rounds, ± half of what the middle half of them spans. "× limit" and "× peer" are
medians of the rounds' ratios to the fastest limit and to the fastest other way between processes; less is better.
Time is by the clock; processor time is that of all processes of the contender together, as are threads and memory
(resident; a Go side of this harness has about %s by itself, and shared memory counts in each process).
`, size(float64(status(selfPID, "VmRSS:"))*1024))
	r.summary(w)
	for _, c := range r.Cases {
		c.table(w)
	}
}

// summary is a line for each case: the fastest of ours beside the fastest other way and the limit.
func (r *Results) summary(w io.Writer) {
	fmt.Fprint(w, "\n### Summary\n\n| | ShmemBox's fastest | time | CPU | fastest other way "+
		"between processes | × | limit | × |\n|---|---|--:|--:|---|--:|---|--:|\n")
	for _, c := range r.Cases {
		for _, how := range []string{"", batches} {
			ours := c.best(Ours, how)
			if ours == nil {
				continue
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s |", c.Name, ours.Who,
				spread(ours.median(ns), ours.half()), duration(ours.median(func(s Sample) float64 {
					return s.CPU
				})))
			for _, to := range []*Row{c.best(Peer, how), c.best(Limit, how)} {
				if to == nil {
					fmt.Fprint(w, " | |")
				} else {
					fmt.Fprintf(w, " %s, %s | %s |", to.Who, duration(to.median(ns)),
						times(quantile(ours.ratios(to), 0.5)))
				}
			}
			fmt.Fprintln(w)
		}
	}
}

// failed names those of ours, and the limits, that have no figure.
func (r *Results) failed() (names []string) {
	for _, c := range r.Cases {
		for _, row := range c.Rows {
			if (row.Kind == Ours || row.Kind == Limit) && len(row.good()) == 0 {
				names = append(names, c.Name+" "+row.Who)
			}
		}
	}
	return names
}

// half of what the middle half of the rounds spans.
func (r Row) half() float64 {
	vs := r.figures(ns)
	return (quantile(vs, 0.75) - quantile(vs, 0.25)) / 2
}

func (r Result) table(w io.Writer) {
	fmt.Fprintf(w, "\n### %s\n\n%s. Per %s", r.Name, r.About, cmp.Or(r.Unit, "operation"))
	for _, how := range []string{"", batches} {
		if limit := r.best(Limit, how); limit != nil {
			fmt.Fprintf(w, "; limit%s: %s", how, limit.Who)
		}
		if peer := r.best(Peer, how); peer != nil {
			fmt.Fprintf(w, "; best peer%s: %s", how, peer.Who)
		}
	}
	fmt.Fprintf(w, ".\n\n| | | time | × limit | × peer | p50 | p99 | p99.9 | CPU | threads | "+
		"memory | |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, row := range r.sorted() {
		if row.Missing != "" || len(row.good()) == 0 {
			why := row.Missing
			if why == "" && len(row.Samples) > 0 {
				why = row.Samples[0].Err
			}
			fmt.Fprintf(w, "| %s | %s | – | | | | | | | | | %s |\n", row.Who, row.Kind, why)
			continue
		}
		fmt.Fprintf(w, "| %s | %s | %s |", row.Who, row.Kind, spread(row.median(ns), row.half()))
		for _, to := range []*Row{r.best(Limit, row.Who), r.best(Peer, row.Who)} {
			if to == nil || to.Who == row.Who {
				fmt.Fprint(w, " |")
			} else {
				fmt.Fprintf(w, " %s |", times(quantile(row.ratios(to), 0.5)))
			}
		}
		if h := row.latencies(); h != nil {
			fmt.Fprintf(w, " %s | %s | %s |", duration(float64(h.ValueAtQuantile(50))),
				duration(float64(h.ValueAtQuantile(99))),
				duration(float64(h.ValueAtQuantile(99.9))))
		} else {
			fmt.Fprint(w, " | | |")
		}
		fmt.Fprintf(w, " %s | %.0f | %s | %s |\n", duration(row.median(func(s Sample) float64 {
			return s.CPU
		})),
			row.median(func(s Sample) float64 { return float64(s.Threads) }),
			size(row.median(func(s Sample) float64 { return float64(s.RSS) })), r.notes(row))
	}
}

// notes are the figures that only this case, or only this row, has.
func (r Result) notes(row Row) string {
	var notes []string
	if r.Bytes >= 4096 && r.Unit == "message" && !strings.HasPrefix(r.Name, "inplace") {
		notes = append(notes, fmt.Sprintf("%.2f GB/s", float64(r.Bytes)/row.median(ns)))
	}
	names := map[string]bool{}
	for _, s := range row.good() {
		for k := range s.Extra {
			names[k] = true
		}
	}
	var sorted []string
	for k := range names {
		sorted = append(sorted, k)
	}
	slices.Sort(sorted)
	for _, k := range sorted {
		notes = append(notes, fmt.Sprintf("%s: %s", k, figure(row.median(func(s Sample) float64 {
			return s.Extra[k]
		}))))
	}
	if bad := len(row.Samples) - len(row.good()); bad > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d rounds failed", bad, len(row.Samples)))
	}
	return strings.Join(notes, "; ")
}

func duration(ns float64) string {
	switch {
	case math.IsNaN(ns) || ns == 0:
		return "–"
	case ns < 100:
		return fmt.Sprintf("%.1f ns", ns)
	case ns < 1000:
		return fmt.Sprintf("%.0f ns", ns)
	case ns < 100e3:
		return fmt.Sprintf("%.1f µs", ns/1e3)
	case ns < 1e6:
		return fmt.Sprintf("%.0f µs", ns/1e3)
	case ns < 100e6:
		return fmt.Sprintf("%.1f ms", ns/1e6)
	}
	return fmt.Sprintf("%.2f s", ns/1e9)
}

func spread(ns, half float64) string {
	if !(ns > 0) {
		return "–"
	}
	return fmt.Sprintf("%s ± %.0f%%", duration(ns), 100*half/ns)
}

func times(r float64) string {
	switch {
	case math.IsNaN(r) || r == 0:
		return ""
	case r < 0.095:
		return fmt.Sprintf("%.3f", r)
	case r < 9.95:
		return fmt.Sprintf("%.2f", r)
	}
	return fmt.Sprintf("%.0f", r)
}

func figure(v float64) string {
	if math.Abs(v) >= 100 || v == math.Trunc(v) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

func size(b float64) string { return fmt.Sprintf("%.1f MiB", b/(1<<20)) }
