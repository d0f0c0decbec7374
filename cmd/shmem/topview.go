package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A topView is top in a terminal: a table with a selected row, a filter, or one segment in detail.
type topView struct {
	*env
	cmd    *topCmd
	scr    *screen
	all    tracking
	rows   []row  // of the last look
	shown  []row  // of these, in the order of the table
	chosen string // path of the selected row; "" at first
	filter string
	typing bool // the filter is typed
	detail bool // the selected segment is shown in detail
}

const topHint = "s sort  / filter  Enter detail"

// draw shows a frame.
func (v *topView) draw() error {
	if v.detail {
		v.scr.keep, v.scr.hint = -1, "Esc back"
		return v.scr.draw(v.detailFrame(), fixedLines)
	}
	frame := v.frame()
	v.scr.hint = topHint
	return v.scr.draw(frame, fixedLines)
}

// frame is the table, of what the filter lets pass.
func (v *topView) frame() string {
	v.shown = slices.DeleteFunc(slices.Clone(v.rows), func(r row) bool { return !v.passes(r) })
	v.all.sort(v.shown, v.cmd.Sort)
	selected := ""
	v.scr.keep = -1
	if v.scr.keys != nil && len(v.shown) > 0 {
		v.scr.keep = max(v.index(), 0)
		if v.chosen != "" {
			v.chosen = v.shown[v.scr.keep].Path
		}
		selected = v.shown[v.scr.keep].Path
	}
	note := ""
	if v.typing || v.filter != "" {
		note = "filter " + v.filter
		if v.typing {
			note += "_"
		}
	}
	return topFrame(v.env, v.shown, v.all, v.cmd.Sort, selected, note)
}

// passes reports whether the filter lets a row pass: whether one of its texts contains it.
func (v *topView) passes(r row) bool {
	if v.filter == "" {
		return true
	}
	typ, owner, _ := r.describe()
	texts := append(topCells(r, v.all[r.Path]), typ, owner, r.place)
	return strings.Contains(strings.ToLower(strings.Join(texts, "\n")), strings.ToLower(v.filter))
}

// index is the place of the selected row in the table, -1 if it is not there.
func (v *topView) index() int {
	return slices.IndexFunc(v.shown, func(r row) bool { return r.Path == v.chosen })
}

// key takes a key, and reports whether it was for the view.
func (v *topView) key(k string) bool {
	taken := true
	switch {
	case v.detail:
		taken = v.detailKey(k)
	case v.typing:
		v.typeKey(k)
	default:
		taken = v.tableKey(k)
	}
	if taken {
		_ = v.draw() // the next frame meets the same error
	}
	return taken
}

// detailKey takes a key of the detail.
func (v *topView) detailKey(k string) bool {
	switch k {
	case "\x1b", "\r", "\n", "\x7f", "\b", "\x1b[D", "\x1bOD":
		v.detail, v.scr.top = false, 0
		return true
	}
	return false
}

// typeKey takes a key of the filter.
func (v *topView) typeKey(k string) {
	switch k {
	case "\x1b":
		v.typing, v.filter = false, ""
	case "\x7f", "\b":
		if r := []rune(v.filter); len(r) > 0 {
			v.filter = string(r[:len(r)-1])
		}
	default: // a terminal may send several letters in one piece
		text, _, end := strings.Cut(strings.ReplaceAll(k, "\n", "\r"), "\r")
		if isPlain(text, "") && len(v.filter)+len(text) < 100 {
			v.filter += text
		}
		v.typing = !end
	}
	v.scr.top = 0
}

// tableKey takes a key of the table.
func (v *topView) tableKey(k string) bool {
	page := v.scr.room()
	switch k {
	case "s":
		i := slices.Index(topOrders, v.cmd.Sort)
		v.cmd.Sort = topOrders[(i+1)%len(topOrders)]
	case "/":
		v.typing = true
	case "\r", "\n", "\x1b[C", "\x1bOC":
		v.move(0)
		v.detail, v.scr.top = v.chosen != "", 0
	case "\x1b[A", "\x1bOA", "k":
		v.move(-1)
	case "\x1b[B", "\x1bOB", "j":
		v.move(1)
	case "\x1b[5~", "b":
		v.move(-page)
	case "\x1b[6~", " ":
		v.move(page)
	case "\x1b[H", "\x1b[1~", "\x1bOH", "g":
		v.move(-len(v.shown))
	case "\x1b[F", "\x1b[4~", "\x1bOF", "G":
		v.move(len(v.shown))
	case "\x1b":
		if v.filter == "" {
			return false
		}
		v.filter = ""
	default:
		return false
	}
	return true
}

// move selects another row. From then on the selection stays at its segment.
func (v *topView) move(by int) {
	if len(v.shown) > 0 {
		v.chosen = v.shown[min(max(max(v.index(), 0)+by, 0), len(v.shown)-1)].Path
	}
}

// detailFrame is one segment, with all that stat says of it.
func (v *topView) detailFrame() string {
	sub := *v.env
	var b strings.Builder
	sub.out = &b
	t := v.all[v.chosen]
	fmt.Fprintf(&b, "%s  %s\n", v.style.bold("shmem top "+time.Now().Format(time.TimeOnly)),
		v.style.faint(cut(clean(v.chosen), max(v.width-21, 10))))
	if t != nil && t.st != nil {
		rate := cmp.Or(perSecond(t.rate), "0") + "/s"
		fmt.Fprintf(&b, "%s  %s\n\n", v.style.cyan(bars(t.rates, max(v.width-width(rate)-2, 10))),
			rate)
	} else {
		b.WriteString("\n\n")
	}
	o, err := openPath(v.chosen)
	if err != nil {
		fmt.Fprintln(&b, clean(reason(err)))
		return b.String()
	}
	defer o.Close()
	st, err := o.Status()
	if err != nil {
		fmt.Fprintln(&b, clean(reason(err)))
		return b.String()
	}
	counters, err := tallyOf(o)
	if err != nil {
		fmt.Fprintln(&b, clean(reason(err)))
	}
	sub.showStat(st, o.Type(), counters.line(), nil)
	return b.String()
}

// bars draws values as bars of up to eight steps, the last most ones.
func bars(values []float64, most int) string {
	const steps = "▁▂▃▄▅▆▇█"
	values = values[max(0, len(values)-most):]
	top := slices.Max(append([]float64{1e-9}, values...))
	var b strings.Builder
	for _, v := range values {
		b.WriteRune([]rune(steps)[min(int(max(v, 0)/top*7.99), 7)])
	}
	return b.String()
}
