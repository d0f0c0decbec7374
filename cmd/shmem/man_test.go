//go:build linux

package main

import (
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

const manFile = "../../docs/shmem.1"

// words splits a command line as a shell does, as far as the examples need.
func words(line string) (all []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			all[len(all)-1] += part
			continue
		}
		f := strings.Fields(part)
		if strings.HasSuffix(part, " ") {
			f = append(f, "")
		}
		all = append(all, f...)
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// TestExamples: every command has examples, which its parser takes, and --help shows them.
func TestExamples(t *testing.T) {
	for _, verb := range parser(new(cli)).Model.Children {
		if verb.Hidden {
			continue
		}
		found := false
		for _, line := range examples[verb.Name] {
			for command := range strings.SplitSeq(line, " | ") {
				args := words(command)
				if args[0] != "shmem" {
					continue
				}
				quiet := kong.Writers(io.Discard, io.Discard)
				k, err := parser(new(cli), quiet).Parse(args[1:])
				if err != nil {
					t.Errorf("%s: %v", line, err)
				} else if strings.HasPrefix(k.Command(), verb.Name) {
					found = true
				}
			}
		}
		if !found {
			t.Errorf("%s has no example", verb.Name)
		}
	}
	var out strings.Builder
	p := parser(new(cli), kong.Writers(&out, io.Discard), kong.Exit(func(int) {}))
	_, _ = p.Parse([]string{"gc", "--help"})
	if !strings.Contains(out.String(), "Examples:\n  shmem gc -n\n") {
		t.Errorf("--help shows no examples:\n%s", out.String())
	}
}

// TestManPage: the man page in docs is that of the code, and groff, where there is one, has nothing
// against it.
func TestManPage(t *testing.T) {
	page := manPage(parser(new(cli)).Model)
	if *update {
		if err := os.WriteFile(manFile, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(manFile)
	if err != nil || string(b) != page {
		t.Errorf("docs/shmem.1 is not that of the code; go test ./cmd/shmem -run TestManPage "+
			"-update-schema writes it (%v)", err)
	}
	if groff, err := exec.LookPath("groff"); err == nil {
		cmd := exec.Command(groff, "-man", "-Tutf8", "-ww")
		cmd.Stdin = strings.NewReader(page)
		var errs strings.Builder
		cmd.Stderr = &errs
		if out, err := cmd.Output(); err != nil || errs.Len() > 0 || len(out) < len(page)/2 {
			t.Errorf("%v %s", err, errs.String())
		}
	}
}
