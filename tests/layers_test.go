// Package tests_test checks the architecture as a whole. The programs and tests that take longer
// than a unit test are in the directories beside it; no package of the library imports them.
package tests_test

import (
	"go/ast"
	"go/build/constraint"
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

// layers says which packages of this module, and of others, a package may import. A package
// imports only what stands above it here. To change the table is to change the design:
// docs/design.md has it as a picture. Tests may import anything, and are held to the rules on
// unsafe and x/sys.
var layers = map[string][]string{
	"internal/step":              {},
	"internal/access":            {},
	"internal/access/accesstest": {"internal/access"}, // for tests of ring, table and calls
	"internal/notes":             {},
	"internal/errs":              {},
	"internal/format":            {},
	"internal/layout":            {"internal/format"},
	"internal/ring":              {"internal/step", "internal/access"},
	"internal/sys":               {"golang.org/x/sys/unix", "golang.org/x/sys/windows", "golang.org/x/sys/cpu"},
	"internal/fence":             {"internal/sys"},
	"internal/mem":               {"internal/notes", "internal/errs", "internal/sys", "internal/format"},
	"internal/wait":              {"internal/errs", "internal/step", "internal/sys", "internal/format", "internal/layout", "internal/mem"},
	"internal/wait/waittest":     {"internal/sys", "internal/format", "internal/mem", "internal/wait"}, // for tests of the layers below shmem
	"internal/robust":            {"internal/notes", "internal/errs", "internal/step", "internal/sys", "internal/format", "internal/layout", "internal/mem", "internal/wait"},
	"internal/segment":           {"internal/notes", "internal/errs", "internal/step", "internal/sys", "internal/format", "internal/ring", "internal/layout", "internal/mem", "internal/wait", "internal/robust"},
	"internal/value":             {"internal/notes", "internal/errs", "internal/step", "internal/format", "internal/mem", "internal/wait", "internal/robust", "internal/segment"},
	".":                          {"internal/errs", "internal/format", "internal/mem", "internal/wait", "internal/segment", "internal/value"},
	"psync":                      {".", "internal/errs", "internal/step", "internal/format", "internal/mem", "internal/wait", "internal/robust"},
	"internal/stream":            {"internal/notes", ".", "internal/errs", "internal/step", "internal/fence", "internal/format", "internal/mem", "internal/wait", "internal/robust", "internal/ring", "internal/table", "internal/cache", "internal/calls", "internal/pool", "internal/layout", "internal/segment"},
	"queue":                      {"internal/notes", ".", "internal/step", "internal/fence", "internal/format", "internal/mem", "internal/wait", "internal/robust", "internal/ring", "internal/layout", "internal/stream"},
	"topic":                      {".", "internal/format", "internal/mem", "internal/robust", "internal/stream"},
	"internal/table":             {"internal/step", "internal/access"},
	"internal/cache":             {"internal/step", "internal/access", "internal/table"},
	"kv":                         {"internal/notes", ".", "internal/errs", "internal/format", "internal/mem", "internal/wait", "internal/robust", "internal/layout", "internal/table", "internal/cache", "internal/stream"},
	"kv/fiberstorage":            {"kv"},
	"internal/calls":             {"internal/step", "internal/access"},
	"internal/pool":              {"internal/step", "internal/access"},
	"blob":                       {".", "internal/notes", "internal/errs", "internal/sys", "internal/format", "internal/mem", "internal/wait", "internal/layout", "internal/pool", "internal/stream"},
	"rpc":                        {".", "internal/errs", "internal/sys", "internal/format", "internal/mem", "internal/wait", "internal/layout", "internal/calls", "internal/stream"},
	"limit":                      {".", "kv", "internal/errs", "internal/step", "internal/sys", "internal/mem"},
	"internal/gen":               {"internal/format", "internal/layout"},
	"inspect":                    {".", "internal/format", "internal/mem", "internal/sys", "internal/ring", "internal/table", "internal/cache", "internal/calls", "internal/pool", "internal/layout", "internal/gen", "internal/stream", "internal/segment", "internal/value", "psync"},
	"metrics":                    {".", "inspect", "internal/sys"},
	"shmemtest":                  {"."},
}

// free are programs: no package imports them, and they may import what they like.
var free = []string{"cmd/", "examples/", "tests/"}

// root is the root of the module.
const root = ".."

// systems are the packages that know in which system they run. shmemtest starts and ends processes.
var systems = []string{"internal/sys", "internal/mem", "internal/wait", "shmemtest"}

// checkSystem checks that a file of the library outside of systems is the same on every system.
func checkSystem(t *testing.T, path, pkg string, f *ast.File) {
	if slices.Contains(systems, pkg) {
		return
	}
	name := strings.TrimSuffix(filepath.Base(path), ".go")
	for _, s := range []string{"linux", "darwin", "windows", "unix", "freebsd"} {
		if strings.HasSuffix(name, "_"+s) || strings.Contains(name, "_"+s+"_") {
			t.Errorf("%s is for %s: only %v know a system", path, s, systems)
		}
	}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if !constraint.IsGoBuild(c.Text) {
				continue
			}
			x, err := constraint.Parse(c.Text)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			x.Eval(func(tag string) bool {
				switch tag {
				case "linux", "darwin", "windows", "unix", "freebsd", "portable":
					t.Errorf("%s is built by %s: only %v know a system", path, tag, systems)
				}
				return true
			})
		}
	}
}

func TestLayers(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (d.Name()[0] == '.' || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != root {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		pkg, test := filepath.ToSlash(filepath.Dir(rel)), strings.HasSuffix(path, "_test.go")
		isFree := slices.ContainsFunc(free, func(p string) bool { return strings.HasPrefix(pkg+"/", strings.TrimSuffix(p, "/")+"/") })
		allowed, known := layers[pkg]
		if !known && !isFree {
			t.Errorf("%s: package %s is in no layer", path, pkg)
		}
		seen[pkg] = true
		if !test && !isFree {
			checkSystem(t, path, pkg, f)
		}
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
			if known && slices.ContainsFunc(free, func(p string) bool { return strings.HasPrefix(name+"/", p) }) {
				t.Errorf("%s imports the program %s", path, name)
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
