package main

import (
	"slices"
	"testing"

	"github.com/shmembox/shmem/inspect"
)

func TestIsChanged(t *testing.T) {
	for _, c := range []struct {
		line inspect.Line
		path string // that has changed
		want bool
	}{
		{inspect.Line{Path: "Limit", Text: "1"}, "Limit", true},
		{inspect.Line{Path: "Limit", Text: "1"}, "Limit2", false},
		{inspect.Line{Path: "Routes[1]", Text: "{...}"}, "Routes[1].Name", true},
		{inspect.Line{Path: "Routes[1]", Text: "{...}"}, "Routes[10].Name", false},
		{inspect.Line{Path: "Routes"}, "Routes[1].Name", false}, // its elements have lines of their own
		{inspect.Line{Path: "", Text: "5"}, "N", true},
		{inspect.Line{Path: "T[8]", Text: "0 0 0", Span: 3}, "T[10]", true},
		{inspect.Line{Path: "T[8]", Text: "0 0 0", Span: 3}, "T[11]", false},
		{inspect.Line{Path: "T[8]", Text: "0 0 0", Span: 3}, "U[9]", false},
	} {
		if got := isChanged(c.line, map[string]bool{c.path: true}); got != c.want {
			t.Errorf("%+v when %s has changed: %v", c.line, c.path, got)
		}
	}
}

func TestLabelColumns(t *testing.T) {
	got := labelColumns([]inspect.Line{
		{Label: "A"}, {Label: "Routes"}, {Depth: 1, Label: "[0]"}, {Depth: 2, Label: "Name"},
		{Depth: 1, Label: "[10]"}, {Label: "Mu"},
		{Label: "AnExceedinglyLongNameOfAField"},
	})
	if want := []int{6, 6, 4, 4, 4, 6, 6}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
