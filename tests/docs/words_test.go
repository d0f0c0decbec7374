package docs_test

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

const (
	maxReadme = 8500 // bytes
	maxWords  = 25   // uses of the words below
)

func TestReadmeIsShort(t *testing.T) {
	s, err := os.Stat(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Size() > maxReadme {
		t.Errorf("README.md has %d bytes, more than %d", s.Size(), maxReadme)
	}
}

// vague are subjects that hide which process is meant.
var vague = regexp.MustCompile(`(?i)\b((some|no|any|every)body|(who|whom)ever)\b`)

// TestPlainWords counts these words in Go comments, Markdown and the man page.
func TestPlainWords(t *testing.T) {
	uses := map[string]int{}
	for name, text := range sources(t) {
		var s scanner.Scanner
		fset := token.NewFileSet()
		file := fset.AddFile(name, -1, len(text))
		s.Init(file, []byte(text), func(token.Position, string) {}, scanner.ScanComments)
		for {
			_, tok, lit := s.Scan()
			if tok == token.EOF {
				break
			}
			if tok == token.COMMENT {
				uses[name] += len(vague.FindAllString(lit, -1))
			}
		}
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" && filepath.Ext(path) != ".1" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		uses[path] += len(vague.FindAll(b, -1))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	var names []string
	for name, n := range uses {
		sum += n
		if n > 0 {
			names = append(names, name)
		}
	}
	if sum <= maxWords {
		t.Logf("%d uses in %d files", sum, len(names))
		return
	}
	t.Errorf("%d uses, more than %d", sum, maxWords)
	slices.SortFunc(names, func(a, b string) int { return uses[b] - uses[a] })
	for _, name := range names {
		t.Logf("%3d %s", uses[name], name)
	}
}

var figure = regexp.MustCompile(`\d\s*(ns|µs|us|[GM]B/s)\b`)

// TestFiguresStandInOnePlace checks that what was measured stands in docs/benchmarks.md only. The
// design and the format have constants in such units.
func TestFiguresStandInOnePlace(t *testing.T) {
	free := []string{"docs/benchmarks.md", "docs/design.md", "docs/format.md"}
	for _, d := range documents(t) {
		if slices.Contains(free, d.file) {
			continue
		}
		for i, line := range d.lines {
			if figure.MatchString(line) {
				t.Errorf("%s:%d: a figure: %s", d.file, i+1, line)
			}
		}
	}
}
