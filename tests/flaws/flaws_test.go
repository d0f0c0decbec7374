package flaws

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestApply checks that every edit of every flaw finds its text, and that the edited packages still
// have no error of types. Whether they link shows when a checker is built.
func TestApply(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not here")
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	c := newTypeChecker(t, root)
	for _, f := range All() {
		t.Run(f.Name, func(t *testing.T) {
			if f.Breaks == "" || len(f.Edits) == 0 {
				t.Fatal("a flaw says what it breaks, and edits something")
			}
			edited, err := f.Apply(root)
			if err != nil {
				t.Fatal(err)
			}
			for _, pkg := range f.Packages() {
				if err := c.check(pkg, edited); err != nil {
					t.Errorf("%s: %v", pkg, err)
				}
			}
		})
	}
}

// A typeChecker checks packages of the module from their sources, and takes what they import from the
// build cache.
type typeChecker struct {
	root    string
	files   map[string][]string // of each package, by its directory below root
	exports map[string]string   // files of export data, by import path
}

func newTypeChecker(t *testing.T, root string) *typeChecker {
	t.Helper()
	c := &typeChecker{root: root, files: map[string][]string{}, exports: map[string]string{}}
	var pkgs []string
	for _, f := range All() {
		pkgs = append(pkgs, f.Packages()...)
	}
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,GoFiles,Export"}, pkgs...)
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath, Dir, Export string
			GoFiles                 []string
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		c.exports[p.ImportPath] = p.Export
		if dir, err := filepath.Rel(root, p.Dir); err == nil {
			c.files[filepath.ToSlash(dir)] = p.GoFiles
		}
	}
	return c
}

// check checks one package, with the texts of edited in place of its files.
func (c *typeChecker) check(pkg string, edited map[string]string) error {
	fset := token.NewFileSet()
	pkg = path.Clean(pkg)
	names := slices.Clone(c.files[pkg])
	for name := range edited {
		if path.Dir(name) == pkg && !slices.Contains(names, path.Base(name)) {
			names = append(names, path.Base(name))
		}
	}
	var files []*ast.File
	for _, name := range names {
		name = path.Join(pkg, name)
		var src any
		if text, ok := edited[name]; ok {
			src = text
		}
		f, err := parser.ParseFile(fset, filepath.Join(c.root, name), src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	lookup := func(imported string) (io.ReadCloser, error) { return os.Open(c.exports[imported]) }
	config := types.Config{
		Importer: importer.ForCompiler(fset, "gc", lookup),
		Sizes:    types.SizesFor("gc", runtime.GOARCH),
	}
	_, err := config.Check(pkg, fset, files, nil)
	return err
}

// TestTypeChecker checks that an edit that does not compile is found.
func TestTypeChecker(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Skip(err)
	}
	f := Lifecycle[0]
	edited, err := f.Apply(root)
	if err != nil {
		t.Fatal(err)
	}
	c := newTypeChecker(t, root)
	for name := range edited {
		edited[name] += "\nvar unknown = notDefined\n"
	}
	err = c.check(f.Packages()[0], edited)
	if err == nil || !strings.Contains(err.Error(), "notDefined") {
		t.Error(err)
	}
}

func TestNamesAreUnique(t *testing.T) {
	names := Names(All())
	slices.Sort(names)
	if n := len(slices.Compact(slices.Clone(names))); n != len(names) {
		t.Errorf("two flaws have one name: %v", names)
	}
}

func TestEdits(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.com/m\n\ngo 1.26.0\n")
	write("main.go", "package main\n\nimport \"example.com/m/sub\"\n\nfunc main() { println(sub.Sum(1, 2)) }\n")
	write("sub/sub.go", "package sub\n\nfunc Sum(a, b int) int { return a + b }\n")
	for name, c := range map[string]struct {
		edits []Edit
		err   string
		out   string
	}{
		"none":  {nil, "", "3"},
		"one":   {[]Edit{{"sub/sub.go", "a + b", "a - b"}}, "", "-1"},
		"two":   {[]Edit{{"sub/sub.go", "a + b", "more(a, b)"}, {"sub/sub.go", "package sub\n", "package sub\n\nfunc more(a, b int) int { return a + b + 1 }\n"}}, "", "4"},
		"file":  {[]Edit{{"sub/sub.go", "a + b", "more"}, {"sub/new.go", "", "package sub\n\nconst more = 7\n"}}, "", "7"},
		"gone":  {[]Edit{{"sub/sub.go", "a * b", "a - b"}}, "occurs 0 times", ""},
		"twice": {[]Edit{{"sub/sub.go", "int", "uint"}}, "occurs 2 times", ""},
		"anew":  {[]Edit{{"sub/sub.go", "", "package sub\n"}}, "exists", ""},
		"where": {[]Edit{{"sub/none.go", "a", "b"}}, "no such file", ""},
		"wrong": {[]Edit{{"sub/sub.go", "a + b", "a + c"}}, "undefined: c", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && c.out != "" {
				t.Skip("the compiler takes its time")
			}
			program := filepath.Join(t.TempDir(), "program")
			err := Flaw{Name: name, Breaks: "x", Edits: c.edits}.Build(root, ".", program)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(program).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != c.out {
				t.Errorf("%q, %v, want %q", got, err, c.out)
			}
		})
	}
	if b, _ := os.ReadFile(filepath.Join(root, "sub/sub.go")); !strings.Contains(string(b), "a + b") {
		t.Error("the sources were changed")
	}
}

func TestPackages(t *testing.T) {
	f := Flaw{Edits: []Edit{{File: "b/c/x.go"}, {File: "a.go"}, {File: "b/c/y.go"}}}
	if got := f.Packages(); !slices.Equal(got, []string{".", "./b/c"}) {
		t.Error(got)
	}
}
