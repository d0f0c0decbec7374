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

// A span is code within a line of a document's text.
type span struct {
	file string
	line int // from 1
	text string
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

func (d document) spans() (all []span) {
	for i, line := range d.lines {
		for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
			all = append(all, span{d.file, i + 1, m[1]})
		}
	}
	return all
}

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

var (
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz|Example)\w*)\(`)
	testName   = regexp.MustCompile(`^(Test|Benchmark|Fuzz|Example)[A-Z]?\w*`)
	matrixName = regexp.MustCompile(`^(?:TestKillMatrix|…)/(?:at/)?(\w+)$`)
	inPackage  = regexp.MustCompile("`(\\w+)`: " +
		"((?:`(?:Test|Benchmark|Fuzz|Example)[\\w/…]*`(?:, )?)+)")
)

// TestNamedTests checks that every test, benchmark and example that a document names exists, in the
// package that it names ("`psync`: `TestKill`"). It also looks for scenarios of TestKillMatrix.
func TestNamedTests(t *testing.T) {
	packagesOf := map[string][]string{} // the packages that have a test of that name
	var tests strings.Builder
	for name, text := range sources(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		tests.WriteString(text)
		for _, m := range testFunc.FindAllStringSubmatch(text, -1) {
			packagesOf[m[1]] = append(packagesOf[m[1]], filepath.Base(filepath.Dir(name)))
		}
	}
	for _, d := range documents(t) {
		for _, s := range d.spans() {
			if name := testName.FindString(s.text); name != "" && len(packagesOf[name]) == 0 {
				t.Errorf("%s:%d: there is no %s", s.file, s.line, name)
			}
			m := matrixName.FindStringSubmatch(s.text)
			if m != nil && !strings.Contains(tests.String(), `"`+strings.ReplaceAll(m[1], "_", " ")+`"`) {
				t.Errorf("%s:%d: TestKillMatrix has no scenario %q", s.file, s.line, m[1])
			}
		}
		for i, line := range d.lines {
			for _, m := range inPackage.FindAllStringSubmatch(line, -1) {
				for _, s := range codeSpan.FindAllStringSubmatch(m[2], -1) {
					name := testName.FindString(s[1])
					if !slices.Contains(packagesOf[name], m[1]) {
						t.Errorf("%s:%d: there is no %s in package %s", d.file, i+1, name, m[1])
					}
				}
			}
		}
	}
}

var (
	filePath = regexp.MustCompile(`^(?:\./)?((?:internal|tests|cmd|bench|examples|psync|queue|topic|kv|limit|metrics|` +
		`inspect|shmemtest|docs|\.github|\.ci)/[\w./-]+|\w+\.(?:go|md|mod))$`)
	// notOurs are files of a user's program, and of Go's own tree.
	notOurs = regexp.MustCompile(`^(main\.go|go\.mod|internal/runtime/.*|atomic_\w+\.go)$`)
)

// TestNamedFiles checks that every file and directory that a document names exists.
func TestNamedFiles(t *testing.T) {
	for _, d := range documents(t) {
		for _, s := range d.spans() {
			for _, word := range strings.Fields(s.text) {
				m := filePath.FindStringSubmatch(strings.TrimSuffix(word, "/..."))
				if m == nil || notOurs.MatchString(m[1]) {
					continue
				}
				_, atRoot := os.Stat(filepath.Join(root, m[1]))
				_, beside := os.Stat(filepath.Join(root, filepath.Dir(d.file), m[1]))
				if atRoot != nil && beside != nil {
					t.Errorf("%s:%d: there is no %s", s.file, s.line, m[1])
				}
			}
		}
	}
}

// public are the packages whose names documents use.
var public = []string{"shmem", "psync", "queue", "topic", "kv", "rpc", "blob", "limit", "inspect",
	"metrics", "shmemtest"}

func (c *checker) scopes(t *testing.T) map[string]*types.Scope {
	t.Helper()
	scopes := map[string]*types.Scope{}
	for _, name := range public {
		p, err := c.importer.Import(packages[name])
		if err != nil {
			t.Fatal(err)
		}
		scopes[name] = p.Scope()
	}
	return scopes
}

// goName matches package, name, member; then type arguments or a call may follow.
var goName = regexp.MustCompile(`^(?:(` + strings.Join(public, "|") + `)\.)?` +
	`([A-Z]\w*)(?:\.([A-Z]\w*))?(?:\[.*\])?(?:\(.*\))?$`)

// TestNamedIdentifiers checks that what a document calls by a name of Go has it: `queue.ErrFull`,
// `Box.Load`, `queue.Options.Single`. Without a package the name is one of any of them. A single
// word is checked only if it begins with Err.
func TestNamedIdentifiers(t *testing.T) {
	scopes := newChecker(t).scopes(t)
	for _, d := range documents(t) {
		if d.file == "CHANGELOG.md" || strings.HasPrefix(d.file, "tests/") {
			continue // they name what is gone, and what is internal
		}
		for _, s := range d.spans() {
			m := goName.FindStringSubmatch(s.text)
			if m == nil || m[1] == "" && m[3] == "" && !strings.HasPrefix(m[2], "Err") {
				continue
			}
			if !known(scopes, m[1], m[2], m[3]) {
				t.Errorf("%s:%d: there is no %s", s.file, s.line, s.text)
			}
		}
	}
}

func known(scopes map[string]*types.Scope, pkg, name, member string) bool {
	for p, scope := range scopes {
		o := scope.Lookup(name)
		if o == nil || pkg != "" && p != pkg {
			continue
		}
		if member == "" {
			return true
		}
		for _, typ := range []types.Type{o.Type(), types.NewPointer(o.Type())} {
			if m, _, _ := types.LookupFieldOrMethod(typ, true, o.Pkg(), member); m != nil {
				return true
			}
		}
	}
	return false
}

// TestSentinelsAreExplained checks that docs/errors.md has a heading for every sentinel.
func TestSentinelsAreExplained(t *testing.T) {
	have := parse(t, filepath.Join(root, "docs/errors.md")).headings
	want := map[string]bool{}
	for pkg, scope := range newChecker(t).scopes(t) {
		for _, n := range scope.Names() {
			if o, ok := scope.Lookup(n).(*types.Var); ok && o.Exported() && isError(o.Type()) {
				want[pkg+"."+n] = true
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
