package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

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
				} else if fragment != "" && !byFile[target].hasAnchor(fragment) {
					t.Errorf("%s:%d: %s has no heading #%s", d.file, i+1, target, fragment)
				}
			}
		}
	}
}

func (d document) hasAnchor(fragment string) bool {
	return slices.ContainsFunc(d.headings, func(h string) bool { return anchor(h) == fragment })
}

// TestDocsIndex checks that docs/README.md leads to every document beside it.
func TestDocsIndex(t *testing.T) {
	index := parse(t, filepath.Join(root, "docs/README.md"))
	text := strings.Join(index.lines, "\n")
	for _, d := range documents(t) {
		name, ok := strings.CutPrefix(d.file, "docs/")
		if ok && name != "README.md" && !strings.Contains(text, "]("+name+")") {
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
