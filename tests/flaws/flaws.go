// Package flaws builds programs with deliberate faults in the library.
//
// A checker that never reports anything proves nothing. Each flaw here changes a few lines of the
// library; a checker built with the flaw must report a violation. The library's own sources hold no
// trace of the flaws: a flaw is applied to a copy of the edited files, and `go build -overlay`
// compiles the copy in their place.
//
// Each edit names text that must occur exactly once in its file, so that a flaw cannot silently
// stop to apply when the library changes: TestApply fails, and shows which text is missing.
package flaws

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// module is the import path of the library.
const module = "github.com/shmembox/shmem"

// A Flaw is one deliberate fault.
type Flaw struct {
	Name   string
	Breaks string // what the library no longer does, in one sentence
	Edits  []Edit
}

// An Edit replaces one piece of text in one file.
type Edit struct {
	File string // below the module's root, with slashes
	Old  string // occurs exactly once in File; empty: File is new, and New is all of it
	New  string
}

// All returns every flaw there is.
func All() []Flaw { return slices.Concat(Lifecycle) }

// Find returns the flaw of a name.
func Find(list []Flaw, name string) (Flaw, error) {
	i := slices.IndexFunc(list, func(f Flaw) bool { return f.Name == name })
	if i < 0 {
		return Flaw{}, fmt.Errorf("no flaw %q; there are %s", name, strings.Join(Names(list), ", "))
	}
	return list[i], nil
}

// Names returns the names of the flaws in a list.
func Names(list []Flaw) []string {
	names := make([]string, len(list))
	for i, f := range list {
		names[i] = f.Name
	}
	return names
}

// Root returns the root of the checkout that holds the library. The current directory must be in
// it, or in a module that replaces the library with it.
func Root() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	root := strings.TrimSpace(string(out))
	if err != nil || root == "" {
		return "", fmt.Errorf("the sources of %s are not here; run it in a checkout: %w", module, err)
	}
	return root, nil
}

// Apply returns the text of every file that the flaw edits, by its name below root. It changes no
// file.
func (f Flaw) Apply(root string) (map[string]string, error) {
	files := map[string]string{}
	for i, e := range f.Edits {
		text, edited := files[e.File]
		if !edited {
			b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.File)))
			switch {
			case os.IsNotExist(err) && e.Old == "":
				files[e.File] = e.New
				continue
			case err != nil:
				return nil, fmt.Errorf("flaw %s: %w", f.Name, err)
			}
			text = string(b)
		}
		if e.Old == "" {
			return nil, fmt.Errorf("flaw %s, edit %d: %s exists, but the edit makes it anew",
				f.Name, i, e.File)
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return nil, fmt.Errorf("flaw %s, edit %d: this text occurs %d times in %s, not once:\n%s",
				f.Name, i, n, e.File, e.Old)
		}
		files[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
	return files, nil
}

// Overlay writes the edited files and a description of them into the directory dir, and returns the
// path of the description: the argument of -overlay of the go command.
func (f Flaw) Overlay(root, dir string) (string, error) {
	files, err := f.Apply(root)
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, text := range files {
		edited := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(edited, []byte(text), 0o600); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(root, filepath.FromSlash(name))] = edited
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}

// Packages returns the packages that the flaw edits, as the go command takes them in root.
func (f Flaw) Packages() []string {
	var all []string
	for _, e := range f.Edits {
		all = append(all, "./"+strings.TrimSuffix(e.File, "/"+filepath.Base(e.File)))
		if !strings.Contains(e.File, "/") {
			all[len(all)-1] = "."
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Build builds the program of the package pkg, such as "./tests/chaos", with the flaw, and writes
// it to the file out. Without edits it builds the library as it is.
func (f Flaw) Build(root, pkg, out string) error {
	dir, err := os.MkdirTemp("", "flaw-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	overlay, err := f.Overlay(root, dir)
	if err != nil {
		return err
	}
	return run(root, "go", "build", "-overlay", overlay, "-o", out, pkg)
}

// run runs a command in a directory; its error has what the command printed.
func run(dir string, args ...string) error {
	c := exec.Command(args[0], args[1:]...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
