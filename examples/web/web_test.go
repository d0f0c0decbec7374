// Package web has examples of web servers in several processes: see the README in the directory
// above.
package web

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
)

// wants are the lines that each example prints, in any order.
var wants = map[string][]string{
	"prefork": {
		`4 workers, 5 killed: \d+ requests, \d+ without a reply`,
		`each request was counted once, each page was whole`,
		`127\.0\.0\.9 was allowed \d+ of \d+ requests`,
		`\d+ pages came from the cache`,
	},
	"fiber": {
		`4 workers, 5 killed: \d+ requests, \d+ without a reply`,
		`each request was counted once, each page was whole`,
		`a session counted each of its visits`,
		`by Increment \d+ of \d+ requests were allowed, by Fiber's limiter \d+ of \d+`,
	},
}

// TestExamples builds the examples, and runs them with workers that are killed.
func TestExamples(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./prefork", "./fiber")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for example, want := range wants {
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprint("web-", example, "-", os.Getpid())
			cmd := exec.Command(filepath.Join(bin, example), "-name", name, "-kills", "5", "-n", "100")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			for _, w := range want {
				re := regexp.MustCompile(`^(?:` + w + `)$`)
				if !slices.ContainsFunc(lines, re.MatchString) {
					t.Errorf("no line %s in\n%s", w, out)
				}
			}
			for s, err := range shmem.List("") {
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(s.Name, name) {
					t.Errorf("%s is left", s.Name)
					_ = shmem.Remove("", s.Name)
				}
			}
		})
	}
}
