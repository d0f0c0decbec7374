package main

import (
	"fmt"
	"slices"
	"strings"
)

// A column of a table.
type column struct {
	head  string
	right bool // aligned to the right
	// if positive, the column may be cut down to so many columns of text
	least int
	fold  bool                              // of the last column: what does not fit goes on below
	spare bool                              // left out where the table is too wide
	last  int                               // left out, highest first, where cutting is not enough
	paint func(row int, text string) string // nil: no colour
}

// table prints rows, each with a cell for each column. On a terminal the table fits its width;
// elsewhere nothing is cut, for grep and awk. Cells are cleaned.
func (e *env) table(columns []column, rows [][]string) {
	t := &tableLayout{columns: slices.Clone(columns), rows: make([][]string, len(rows))}
	for i, r := range rows {
		t.rows[i] = make([]string, len(r))
		for k, cell := range r {
			t.rows[i][k] = clean(cell)
		}
	}
	t.measure()
	if e.tty {
		t.leaveOut(e.width)
		t.leaveMore(e.width)
		t.narrow(e.width)
	}
	fmt.Fprint(e.out, t.text(e.style))
}

// A tableLayout is a table on its way to text.
type tableLayout struct {
	columns []column
	rows    [][]string
	widths  []int // of each column
}

// gap is how many columns of space are between two columns.
const gap = 2

// measure makes every column as wide as its widest cell.
func (t *tableLayout) measure() {
	t.widths = make([]int, len(t.columns))
	for i, c := range t.columns {
		t.widths[i] = width(c.head)
		for _, r := range t.rows {
			t.widths[i] = max(t.widths[i], width(r[i]))
		}
	}
}

// total is the width of the table.
func (t *tableLayout) total() int {
	total := gap * (len(t.widths) - 1)
	for _, n := range t.widths {
		total += n
	}
	return total
}

// leaveOut drops spare columns, from the last one on, until the table fits.
func (t *tableLayout) leaveOut(limit int) {
	for i := len(t.columns) - 1; i >= 0 && t.total() > limit; i-- {
		if t.columns[i].spare {
			t.drop(i)
		}
	}
}

// drop leaves a column out.
func (t *tableLayout) drop(i int) {
	t.columns = slices.Delete(t.columns, i, i+1)
	t.widths = slices.Delete(t.widths, i, i+1)
	for k, r := range t.rows {
		t.rows[k] = slices.Delete(slices.Clone(r), i, i+1)
	}
}

// leaveMore drops columns that the table can do without, until the others fit when they are cut.
func (t *tableLayout) leaveMore(limit int) {
	for {
		need, worst := gap*(len(t.widths)-1), -1
		for i, c := range t.columns {
			n := t.widths[i]
			if c.least > 0 {
				n = min(n, c.least)
			}
			need += n
			if c.last > 0 && (worst < 0 || c.last > t.columns[worst].last) {
				worst = i
			}
		}
		if need <= limit || worst < 0 {
			return
		}
		t.drop(worst)
	}
}

// narrow takes from the column that can give most, one at a time, until the table fits or no column
// can give any more.
func (t *tableLayout) narrow(limit int) {
	for over := t.total() - limit; over > 0; over-- {
		widest, most := -1, 0
		for i, c := range t.columns {
			if spare := t.widths[i] - c.least; c.least > 0 && spare > most {
				widest, most = i, spare
			}
		}
		if widest < 0 {
			return
		}
		t.widths[widest]--
	}
}

// text is the whole table.
func (t *tableLayout) text(s style) string {
	var b strings.Builder
	heads := make([]string, len(t.columns))
	for i, c := range t.columns {
		heads[i] = c.head
	}
	t.line(&b, s, -1, heads)
	last := len(t.columns) - 1
	for i, r := range t.rows {
		if !t.columns[last].fold || width(r[last]) <= t.widths[last] {
			t.line(&b, s, i, r)
			continue
		}
		cells := slices.Clone(r)
		for _, part := range fold(r[last], t.widths[last]) {
			cells[last] = part
			t.line(&b, s, i, cells)
			clear(cells) // the other cells are on the first line only
		}
	}
	return b.String()
}

// line appends a line of cells; row is -1 for the heads. The last column is not filled with spaces.
func (t *tableLayout) line(b *strings.Builder, s style, row int, cells []string) {
	for i, c := range t.columns {
		text := cut(cells[i], t.widths[i])
		if c.right {
			text = lpad(text, t.widths[i])
		} else if i < len(t.columns)-1 {
			text = pad(text, t.widths[i])
		}
		switch {
		case row < 0:
			text = s.faint(text)
		case c.paint != nil:
			text = c.paint(row, text)
		}
		if i > 0 {
			b.WriteString(strings.Repeat(" ", gap))
		}
		b.WriteString(text)
	}
	b.WriteByte('\n')
}

// painted makes a column's paint of a colour.
func painted(colour func(string) string) func(int, string) string {
	return func(_ int, text string) string { return colour(text) }
}
