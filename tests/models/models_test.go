// Package models checks that the models, the steps and the code still have the same names.
package models

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var span = regexp.MustCompile("`([^`]+)`")

func spans(cell string) (all []string) {
	for _, m := range span.FindAllStringSubmatch(strings.ReplaceAll(cell, `\|`, "|"), -1) {
		all = append(all, m[1])
	}
	return all
}

// names returns the functions, methods, constants and variables of a package, without its tests.
func names(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	files, err := filepath.Glob(filepath.Join("..", "..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				all[d.Name.Name] = true
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if v, ok := s.(*ast.ValueSpec); ok {
						for _, n := range v.Names {
							all[n.Name] = true
						}
					}
				}
			}
		}
	}
	return all
}

// TestTable checks the table "Steps and code" of the README: each comment is in a model, each step
// in internal/step, each function in its package.
func TestTable(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(readme), "| model | step | code |\n|---|---|---|\n")
	if !found {
		t.Fatal("the table is not in README.md")
	}
	var models strings.Builder
	for _, name := range []string{"lock.pml", "wait.pml", "one.pml", "snapshot.pml", "lifecycle.pml"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		models.Write(b)
	}
	steps := names(t, "internal/step")
	rows := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		rows++
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		for i := range cells {
			cells[i] = strings.ReplaceAll(cells[i], "\x00", "|")
		}
		for _, comment := range spans(cells[1]) {
			if !strings.Contains(models.String(), comment) {
				t.Errorf("no model has the comment %q", comment)
			}
		}
		for _, s := range spans(cells[2]) {
			if !steps[s] {
				t.Errorf("internal/step has no %s", s)
			}
		}
		for _, part := range strings.Split(cells[3], ";") {
			code := spans(part)
			if len(code) < 2 {
				t.Errorf("no package and function: %s", part)
				continue
			}
			defined := names(t, code[0])
			for _, name := range code[1:] {
				if !defined[name] && name != "BOX" {
					t.Errorf("%s has no %s", code[0], name)
				}
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d rows", rows)
	}
}
