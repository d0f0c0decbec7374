package docs_test

import (
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codeSpan = regexp.MustCompile("`([^`]+)`")
)

// TestLinks follows every relative link, to the heading where it names one.
func TestLinks(t *testing.T) {
	all := documents(t)
	byFile := map[string]document{}
	for _, d := range all {
		byFile[d.file] = d
	}
	for _, d := range all {
		for i, line := range d.lines {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
					continue
				}
				to, fragment, _ := strings.Cut(m[1], "#")
				target := d.file
				if to != "" {
					target = filepath.ToSlash(filepath.Join(filepath.Dir(d.file), to))
				}
				if _, err := os.Stat(filepath.Join(root, target)); err != nil {
					t.Errorf("%s:%d: %s leads nowhere", d.file, i+1, m[1])
				} else if fragment != "" && !slices.ContainsFunc(byFile[target].headings, func(h string) bool { return anchor(h) == fragment }) {
					t.Errorf("%s:%d: %s has no heading #%s", d.file, i+1, target, fragment)
				}
			}
		}
	}
}

// TestDocsIndex checks that docs/README.md leads to every document beside it.
func TestDocsIndex(t *testing.T) {
	index := parse(t, filepath.Join(root, "docs/README.md"))
	for _, d := range documents(t) {
		name, ok := strings.CutPrefix(d.file, "docs/")
		if ok && name != "README.md" && !strings.Contains(strings.Join(index.lines, "\n"), "]("+name+")") {
			t.Errorf("docs/README.md does not mention %s", name)
		}
	}
}

// TestDesignNamesPackages checks that docs/design.md has a row for every internal package.
func TestDesignNamesPackages(t *testing.T) {
	text := strings.Join(parse(t, filepath.Join(root, "docs/design.md")).lines, "\n")
	dirs, err := os.ReadDir(filepath.Join(root, "internal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if d.IsDir() && !strings.Contains(text, "| `internal/"+d.Name()+"` |") {
			t.Errorf("docs/design.md has no row for internal/%s", d.Name())
		}
	}
}

var (
	testName   = regexp.MustCompile(`^(Test|Benchmark|Fuzz|Example)[A-Z]?\w*`)
	inPackage  = regexp.MustCompile("`(\\w+)`: ((?:`(?:Test|Benchmark|Fuzz|Example)[\\w/…]*`(?:, )?)+)")
	matrixName = regexp.MustCompile(`^(?:TestKillMatrix|…)/(at/)?(\w+)$`)
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz|Example)\w*)\(`)
)

// sources reads every Go file of the repository, other modules in it included.
func sources(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "bin" || len(d.Name()) > 2 && d.Name()[0] == '.') {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		all[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestNamedTests checks that every test, benchmark and example that a document names exists, in the
// package that it names ("`psync`: `TestKill`"). Scenarios of TestKillMatrix are looked for as well.
func TestNamedTests(t *testing.T) {
	dirs := map[string][]string{} // of the packages that have a test of that name
	var tests strings.Builder
	for name, text := range sources(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		tests.WriteString(text)
		for _, m := range testFunc.FindAllStringSubmatch(text, -1) {
			dirs[m[1]] = append(dirs[m[1]], filepath.Base(filepath.Dir(name)))
		}
	}
	for _, d := range documents(t) {
		for i, line := range d.lines {
			for _, m := range inPackage.FindAllStringSubmatch(line, -1) {
				for _, s := range codeSpan.FindAllStringSubmatch(m[2], -1) {
					if name := testName.FindString(s[1]); !slices.Contains(dirs[name], m[1]) {
						t.Errorf("%s:%d: there is no %s in package %s", d.file, i+1, name, m[1])
					}
				}
			}
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				if name := testName.FindString(m[1]); name != "" && len(dirs[name]) == 0 {
					t.Errorf("%s:%d: there is no %s", d.file, i+1, name)
				}
				if s := matrixName.FindStringSubmatch(m[1]); s != nil && !strings.Contains(tests.String(), `"`+strings.ReplaceAll(s[2], "_", " ")+`"`) {
					t.Errorf("%s:%d: TestKillMatrix has no scenario %q", d.file, i+1, s[2])
				}
			}
		}
	}
}

var filePath = regexp.MustCompile(`^(?:\./)?((?:internal|tests|cmd|bench|examples|psync|queue|topic|inspect|shmemtest|docs|\.github|\.ci)/[\w./-]+|\w+\.(?:go|md|mod))$`)

// TestNamedFiles checks that every file and directory that a document names exists.
func TestNamedFiles(t *testing.T) {
	for _, d := range documents(t) {
		for i, line := range d.lines {
			for _, s := range codeSpan.FindAllStringSubmatch(line, -1) {
				for _, word := range strings.Fields(s[1]) {
					m := filePath.FindStringSubmatch(strings.TrimSuffix(word, "/..."))
					if m == nil || m[1] == "main.go" || m[1] == "go.mod" || strings.HasPrefix(m[1], "internal/runtime/") || strings.HasPrefix(m[1], "atomic_") { // Go's own
						continue
					}
					_, atRoot := os.Stat(filepath.Join(root, m[1]))
					_, beside := os.Stat(filepath.Join(root, filepath.Dir(d.file), m[1]))
					if atRoot != nil && beside != nil {
						t.Errorf("%s:%d: there is no %s", d.file, i+1, m[1])
					}
				}
			}
		}
	}
}

var goName = regexp.MustCompile(`^(?:(shmem|psync|queue|topic|inspect|shmemtest)\.)?([A-Z]\w*)(?:\.([A-Z]\w*))?(?:\[.*\])?(?:\(.*\))?$`)

// TestNamedIdentifiers checks that what a document calls by a name of Go has it: `queue.ErrFull`,
// `Box.Load`, `queue.Options.Single`. Without a package the name is one of any of them; a single word
// is checked only if it is followed by parentheses or begins with Err.
func TestNamedIdentifiers(t *testing.T) {
	c := newChecker(t)
	scopes := map[string]*types.Scope{}
	for _, name := range []string{"shmem", "psync", "queue", "topic", "inspect", "shmemtest"} {
		p, err := c.importer.Import(packages[name])
		if err != nil {
			t.Fatal(err)
		}
		scopes[name] = p.Scope()
	}
	for _, d := range documents(t) {
		if d.file == "CHANGELOG.md" || strings.HasPrefix(d.file, "tests/") { // what is gone; internal names
			continue
		}
		for i, line := range d.lines {
			for _, s := range codeSpan.FindAllStringSubmatch(line, -1) {
				m := goName.FindStringSubmatch(s[1])
				if m == nil || m[1] == "" && m[3] == "" && !strings.HasPrefix(m[2], "Err") {
					continue
				}
				if !known(scopes, m[1], m[2], m[3]) {
					t.Errorf("%s:%d: there is no %s", d.file, i+1, s[1])
				}
			}
		}
	}
}

func known(scopes map[string]*types.Scope, pkg, name, member string) bool {
	for p, scope := range scopes {
		if pkg != "" && p != pkg {
			continue
		}
		o := scope.Lookup(name)
		if o == nil {
			continue
		}
		if member == "" {
			return true
		}
		if m, _, _ := types.LookupFieldOrMethod(types.NewPointer(o.Type()), true, o.Pkg(), member); m != nil {
			return true
		}
		if m, _, _ := types.LookupFieldOrMethod(o.Type(), true, o.Pkg(), member); m != nil {
			return true
		}
	}
	return false
}

// TestSentinelsAreExplained checks that docs/errors.md has a heading for every sentinel.
func TestSentinelsAreExplained(t *testing.T) {
	c := newChecker(t)
	have := parse(t, filepath.Join(root, "docs/errors.md")).headings
	want := map[string]bool{}
	for _, name := range []string{"shmem", "psync", "queue", "topic", "inspect"} {
		p, err := c.importer.Import(packages[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range p.Scope().Names() {
			if o, ok := p.Scope().Lookup(n).(*types.Var); ok && o.Exported() && isError(o.Type()) {
				want[name+"."+n] = true
			}
		}
	}
	for w := range want {
		if !slices.Contains(have, w) {
			t.Errorf("docs/errors.md has no heading %q", w)
		}
	}
	for _, h := range have {
		if m := goName.FindStringSubmatch(h); m != nil && m[1] != "" && !want[h] {
			t.Errorf("docs/errors.md explains %s, which does not exist", h)
		}
	}
}
