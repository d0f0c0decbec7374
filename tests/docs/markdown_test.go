// Package docs_test holds the documents of this repository to what the code is.
//
// Every Go block of README.md and docs/ is type-checked against the packages as they are now:
//
//   - A block that begins with a package clause is a whole file and stands alone.
//   - Any other block needs an HTML comment on the line before its fence, which names a wrapper.
//     "<!-- go: body -->" puts the block into a function with a ctx that returns an error;
//     "<!-- go: file -->" puts it at the top level of a file. Both see the types that the page has
//     declared before, the latest of each name, and testdata/prelude.go, except for the names that
//     the block or the page declares itself. Imports are added.
//   - "<!-- go: file, run -->" is a file of tests, which is run as well.
//
// A block may leave parts out only by comments. It must not lose an error: see lostErrors.
//
// Every shell block of README.md is run, unless the comment before it is
// "<!-- sh: not run: why -->".
package docs_test

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the top of the repository.
const root = "../.."

// A block is a fenced code block.
type block struct {
	file    string // relative to root
	line    int    // of the fence, from 1
	lang    string
	comment string // the HTML comment on the line before the fence, without its marks
	text    string
	before  []block // those before it on the page
}

// A document is one Markdown file.
type document struct {
	file     string // relative to root
	blocks   []block
	lines    []string // the text without the blocks, which are empty lines here
	headings []string
}

var (
	fence       = regexp.MustCompile("^\\s*```\\s*(\\w*)\\s*$")
	htmlComment = regexp.MustCompile(`^<!--\s*(.*?)\s*-->$`)
	heading     = regexp.MustCompile(`^#{1,6}\s+(.*)$`)
)

// documents returns the Markdown files: those at the root, in docs/, and of the proofs.
func documents(t *testing.T) []document {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "tests/*.md", "tests/models/*.md"} {
		m, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, m...)
	}
	var all []document
	for _, f := range files {
		all = append(all, parse(t, f))
	}
	if len(all) == 0 {
		t.Fatal("no documents")
	}
	return all
}

func parse(t *testing.T, path string) document {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name, err := filepath.Rel(root, path)
	if err != nil {
		t.Fatal(err)
	}
	d := document{file: filepath.ToSlash(name)}
	var open *block
	last := ""
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for n := 1; in.Scan(); n++ {
		line := in.Text()
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && open == nil:
			open = &block{file: d.file, line: n, lang: m[1], before: d.blocks}
			if c := htmlComment.FindStringSubmatch(last); c != nil {
				open.comment = c[1]
			}
		case m != nil:
			d.blocks = append(d.blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		default:
			if h := heading.FindStringSubmatch(line); h != nil {
				d.headings = append(d.headings, h[1])
			}
			last = line
			d.lines = append(d.lines, line)
			continue
		}
		d.lines = append(d.lines, "")
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	if open != nil {
		t.Fatalf("%s:%d: the block does not end", d.file, open.line)
	}
	return d
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\-_ ]`)

// anchor returns the fragment by which a heading is linked to.
func anchor(heading string) string {
	s := notInAnchor.ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(s, " ", "-")
}
