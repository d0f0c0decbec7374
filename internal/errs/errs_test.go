package errs_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/shmembox/shmem/internal/errs"
)

// sentinels returns the names of the package's sentinels, which are one group of its source.
func sentinels(t *testing.T) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "errs.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR && g.Lparen.IsValid() {
			for _, s := range g.Specs {
				for _, n := range s.(*ast.ValueSpec).Names {
					names = append(names, n.Name)
				}
			}
		}
	}
	return names
}

// TestExported: each sentinel is exported once, by package shmem or psync.
func TestExported(t *testing.T) {
	var exported []string
	for _, file := range []string{"../../errors.go", "../../psync/psync.go"} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		re := regexp.MustCompile(`(?m)^\s*(?:var )?Err(\w+)\s*=\s*errs\.(\w+)$`)
		for _, m := range re.FindAllStringSubmatch(string(src), -1) {
			if m[1] != m[2] {
				t.Errorf("%s exports errs.%s as Err%s", file, m[2], m[1])
			}
			exported = append(exported, m[2])
		}
	}
	names := sentinels(t)
	if len(names) < 20 {
		t.Fatalf("found only the sentinels %v", names)
	}
	for _, n := range names {
		if !slices.Contains(exported, n) {
			t.Errorf("no package exports errs.%s", n)
		}
	}
}

func TestWorded(t *testing.T) {
	err := errs.NamedClosed("box")
	if !errors.Is(err, errs.Closed) || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("%v is not fs.ErrClosed", err)
	}
	if errors.Is(err, errs.Busy) {
		t.Errorf("%v is Busy", err)
	}
	if !strings.Contains(err.Error(), "box") {
		t.Errorf("%v does not say what is closed", err)
	}
}
