package flaws

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every edit of every flaw finds its text, and the result compiles.
func TestApply(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not here")
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range All() {
		t.Run(f.Name, func(t *testing.T) {
			if f.Breaks == "" || len(f.Edits) == 0 {
				t.Fatal("a flaw says what it breaks, and edits something")
			}
			dir := t.TempDir()
			overlay, err := f.Overlay(root, dir)
			if err != nil {
				t.Fatal(err)
			}
			if testing.Short() {
				return
			}
			if err := run(root, append([]string{"go", "build", "-overlay", overlay}, f.Packages()...)...); err != nil {
				t.Error(err)
			}
		})
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
