package shmem_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/shmembox/shmem"

// layers says which packages of this module, and of others, a package may import. It is the
// architecture: to change it is to change the design. Tests may import anything but are held to the
// rules on unsafe and x/sys like everything else.
var layers = map[string][]string{
	"internal/step":          {},
	"internal/errs":          {},
	"internal/format":        {},
	"internal/layout":        {"internal/format"},
	"internal/ring":          {"internal/step"},
	"internal/sys":           {"golang.org/x/sys/unix", "golang.org/x/sys/cpu"},
	"internal/mem":           {"internal/errs", "internal/sys", "internal/format"},
	"internal/wait":          {"internal/step", "internal/sys", "internal/format", "internal/layout", "internal/mem"},
	"internal/wait/waittest": {"internal/sys", "internal/format", "internal/mem"}, // for tests below shmem
	"internal/robust":        {"internal/errs", "internal/step", "internal/sys", "internal/format", "internal/mem", "internal/wait"},
	"internal/compose":       {"internal/format", "internal/mem"},
	"internal/fence":         {"internal/sys"},
	"psync":                  {".", "internal/errs", "internal/step", "internal/format", "internal/mem", "internal/wait", "internal/robust"},
	".":                      {"internal/errs", "internal/step", "internal/sys", "internal/format", "internal/mem", "internal/wait", "internal/robust", "internal/compose", "internal/layout"},
	"queue":                  {".", "internal/step", "internal/fence", "internal/format", "internal/mem", "internal/wait", "internal/robust", "internal/ring", "internal/layout", "internal/stream"},
	"topic":                  {".", "internal/format", "internal/mem", "internal/robust", "internal/stream"},
	"internal/gen":           {"internal/format", "internal/layout"},
	"internal/stream":        {".", "internal/step", "internal/format", "internal/mem", "internal/wait", "internal/robust", "internal/ring", "internal/compose", "internal/layout"},
	"inspect":                {".", "internal/format", "internal/mem", "internal/sys", "internal/ring", "internal/compose", "internal/layout", "internal/gen", "internal/stream"},
	"shmemtest":              {"."},
}

// free are programs: nobody imports them, and they may import what they like.
var free = []string{"cmd/", "examples/", "tests/"}

func TestLayers(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != "." && (d.Name()[0] == '.' || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != "." {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg, test := filepath.ToSlash(filepath.Dir(path)), strings.HasSuffix(path, "_test.go")
		isFree := slices.ContainsFunc(free, func(p string) bool { return strings.HasPrefix(pkg+"/", strings.TrimSuffix(p, "/")+"/") })
		allowed, known := layers[pkg]
		if !known && !isFree {
			t.Errorf("%s: package %s is in no layer", path, pkg)
		}
		seen[pkg] = true
		for _, spec := range f.Imports {
			imp := strings.Trim(spec.Path.Value, `"`)
			if imp == "unsafe" && !strings.HasSuffix(path, "_unsafe.go") && !test {
				t.Errorf("%s imports unsafe: only files named *_unsafe.go may", path)
			}
			if strings.HasPrefix(imp, "golang.org/x/sys") && pkg != "internal/sys" && !test {
				t.Errorf("%s imports %s: only internal/sys may", path, imp)
			}
			if test || isFree || !strings.Contains(strings.Split(imp, "/")[0], ".") {
				continue
			}
			name := imp
			if imp == module {
				name = "."
			} else if rest, ok := strings.CutPrefix(imp, module+"/"); ok {
				name = rest
			}
			if known && !slices.Contains(allowed, name) {
				t.Errorf("%s: %s must not import %s", path, pkg, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{".", "internal/sys", "internal/mem", "internal/format"} {
		if !seen[pkg] {
			t.Errorf("no file of %s was seen: the test looks in the wrong place", pkg)
		}
	}
}
