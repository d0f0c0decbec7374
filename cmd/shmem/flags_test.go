package main

import (
	"debug/elf"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	t.Setenv("SHMEM_DIR", "/env")
	show := func(c *cli, v *verb) string {
		return fmt.Sprintf("%s %s %s %+v", c.Dir, c.Color, v.name, v.run)
	}
	for args, want := range map[string]string{
		"":                                 "/env auto ls &{Pattern:[] Sort:name JSON:false Names:false}",
		"-d /x":                            "/x auto ls &{Pattern:[] Sort:name JSON:false Names:false}",
		"--color=never ls -1 a b --dir /y": "/y never ls &{Pattern:[a b] Sort:name JSON:false Names:true}",
		"-d/x ls --sort size -- -1":        "/x auto ls &{Pattern:[-1] Sort:size JSON:false Names:false}",
		"watch -n3 -i 20ms c A.B":          "/env auto watch &{Name:c Path:A.B Interval:20ms Count:3 JSON:false}",
		"watch c --json=false":             "/env auto watch &{Name:c Path: Interval:500ms Count:0 JSON:false}",
		"record t - -n 1":                  "/env auto record &{Name:t File:- From:now Count:1}",
		"diff c 3s":                        "/env auto diff &{Name:c In:3s}",
		"set c A=1 B=-2":                   "/env auto set &{Name:c Set:[A=1 B=-2] Timeout:5s}",
		"-":                                `there is no verb "-"`,
		"frobnicate":                       `there is no verb "frobnicate"`,
		"ls --nope":                        "there is no flag --nope",
		"ls -1x":                           "there is no flag -x",
		"ls --sort":                        "--sort: a value is needed",
		"ls --sort colour":                 `--sort is one of name, size, age, state, not "colour"`,
		"watch -i 3 c":                     "--interval 3: a duration as 500ms or 2s is needed",
		"tail --count x q":                 "--count x: a whole number is needed",
		"set c":                            "set: <path=value> is needed",
		"stat":                             "stat: <name> is needed",
		"stat a b":                         `stat: there is no place for "b"`,
		"cat --hex --json c":               "--json and --hex cannot both be given",
		"gen cobol c":                      `<lang> is one of c, python, rust, go, not "cobol"`,
		"stat --help":                      "help stat",
		"cat --nope --help":                "there is no flag --nope",
		"cat --help --nope":                "help cat",
		"--version":                        "version",
	} {
		var c cli
		v, err := newParser(&c).parse(strings.Fields(args))
		got := ""
		switch {
		case err == errHelp && v != nil:
			got = "help " + v.name
		case err != nil:
			got = err.Error()
		default:
			got = show(&c, v)
		}
		if got != want {
			t.Errorf("shmem %s:\n%s, want\n%s", args, got, want)
		}
	}
	var c cli
	if _, err := newParser(&c).parse([]string{"watch", "x"}); err != nil || c.Watch.Interval != 500*time.Millisecond {
		t.Errorf("defaults: %+v, %v", c.Watch, err)
	}
}

// Every verb's help fits a terminal of 80 columns, but for examples.
func TestHelp(t *testing.T) {
	var c cli
	p := newParser(&c)
	for _, v := range append(p.verbs, nil) {
		for l := range strings.Lines(p.help(v, 80)) {
			if l = strings.TrimRight(l, "\n"); width(l) > 80 && !strings.HasPrefix(strings.TrimSpace(l), "$ ") {
				t.Errorf("%d columns: %s", width(l), l)
			}
		}
	}
}

// TestStatic: the program needs no library and no loader, also where there is a C compiler.
func TestStatic(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip(err)
	}
	bin := filepath.Join(t.TempDir(), "shmem")
	if out, err := exec.Command(tool, "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := elf.Open(bin)
	if err != nil {
		t.Skip(err) // no ELF here
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			libs, _ := f.ImportedLibraries()
			t.Errorf("it is linked dynamically, with %v: does a package use cgo?", libs)
		}
	}
}
