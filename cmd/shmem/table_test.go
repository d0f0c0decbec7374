package main

import (
	"strings"
	"testing"
)

// tableText prints a table on a terminal of that width; 0: elsewhere.
func tableText(width int, columns []column, rows [][]string) string {
	var b strings.Builder
	e := &env{out: &b, tty: width > 0, width: width}
	e.table(columns, rows)
	return b.String()
}

func TestTable(t *testing.T) {
	columns := []column{{head: "NAME", least: 4}, {head: "SIZE", right: true},
		{head: "MEM", right: true, spare: true}, {head: "WHY", least: 8, fold: true}}
	rows := [][]string{{"a-long-name", "12K", "3M", "it is small"},
		{"b", "1G", "4M", "it is not needed any more\x1b"}}
	for width, want := range map[int]string{
		0: `
NAME         SIZE  MEM  WHY
a-long-name   12K   3M  it is small
b              1G   4M  it is not needed any more\x1b
`,
		40: `
NAME         SIZE  WHY
a-long-name   12K  it is small
b              1G  it is not needed any
                   more\x1b
`,
		24: `
NAME    SIZE  WHY
a-lon…   12K  it is
              small
b         1G  it is not
              needed any
              more\x1b
`,
	} {
		got := "\n" + tableText(width, columns, rows)
		if got != want {
			t.Errorf("width %d:%s\nwant:%s", width, got, want)
		}
	}
	if len(columns) != 4 || len(rows[0]) != 4 {
		t.Error("table has changed its arguments")
	}
}

// TestTableTooNarrow: where no column can give any more, the table is wider than the terminal.
func TestTableTooNarrow(t *testing.T) {
	got := tableText(5, []column{{head: "NAME", least: 4}, {head: "SIZE"}},
		[][]string{{"abcdefgh", "1234"}})
	if want := "NAME  SIZE\nabc…  1234\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
