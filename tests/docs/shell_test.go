package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/topic"
)

var longFlag = regexp.MustCompile(`^--[a-z][a-z-]*`)

// TestCommands checks that every call of the command in a document has a subcommand that exists,
// and flags that it has.
func TestCommands(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "shmem")
	build := exec.Command("go", "build", "-o", bin, "./cmd/shmem")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	help := map[string]string{} // of the subcommands that exist
	calls := 0
	check := func(where, call string) {
		calls++
		words := strings.Fields(call)
		if len(words) < 2 {
			return
		}
		name := words[1]
		if _, ok := help[name]; !ok && !strings.HasPrefix(name, "-") && name != "COMMAND" {
			out, err := exec.Command(bin, name, "--help").CombinedOutput()
			if err != nil {
				t.Errorf("%s: %s: %v", where, call, err)
			}
			help[name] = string(out)
		}
		for _, w := range words[2:] {
			if f := longFlag.FindString(w); f != "" && f != "--help" && !strings.Contains(help[name], f) {
				t.Errorf("%s: shmem %s has no flag %s", where, name, f)
			}
		}
	}
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if b.lang != "sh" {
				continue
			}
			for i, line := range strings.Split(b.text, "\n") {
				for _, call := range strings.Split(line, "|") {
					call = strings.TrimPrefix(strings.TrimSpace(call), "./")
					if strings.HasPrefix(call, "shmem ") {
						check(fmt.Sprintf("%s:%d", b.file, b.line+1+i), call)
					}
				}
			}
		}
		for i, line := range d.lines {
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				if strings.HasPrefix(m[1], "shmem ") {
					check(fmt.Sprintf("%s:%d", d.file, i+1), m[1])
				}
			}
		}
	}
	if calls < 20 {
		t.Errorf("only %d calls of the command were found", calls)
	}
}

// Settings is the type whose code docs/other-languages.md generates.
type Settings struct{ Limit, Burst int64 }

// Tick is a message of the topic that docs/other-languages.md follows.
type Tick struct{ Price int64 }

// TestOtherLanguages runs the programs of docs/other-languages.md with generated code, in the order
// of the document. Each adds one to Limit.
func TestOtherLanguages(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skipf("segments need Linux, this is %s", runtime.GOOS)
	}
	dir := t.TempDir()
	own := fmt.Sprintf("settings-%d", os.Getpid())
	box, err := shmem.Create[Settings](own, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	if err := box.Store(t.Context(), Settings{Limit: 42, Burst: 7}); err != nil {
		t.Fatal(err)
	}
	typ, err := inspect.TypeFor[Settings]()
	if err != nil {
		t.Fatal(err)
	}
	generate := func(lang inspect.Language, file string) {
		code, err := typ.Generate(lang, "Settings")
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), code, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	generate(inspect.C, "settings.h")
	generate(inspect.Python, "settings.py")
	generate(inspect.Rust, "settings.rs")
	programs := map[string]struct{ file, run, want string }{
		"c":      {"main.c", "gcc -Wall -Werror -o main main.c && ./main", "42\n"},
		"cpp":    {"main.cc", "g++ -std=c++17 -Wall -Werror -o main++ main.cc && ./main++", "43\n"},
		"python": {"main.py", "python3 main.py", "45 7\n"},
		"rust":   {"main.rs", "rustc -o rust main.rs && ./rust", "46\n"},
	}
	for _, b := range parse(t, filepath.Join(root, "docs/other-languages.md")).blocks {
		p, ok := programs[b.lang]
		if !ok {
			continue
		}
		t.Run(b.lang, func(t *testing.T) {
			if _, err := exec.LookPath(strings.Fields(p.run)[0]); err != nil {
				t.Skip(err)
			}
			text := strings.ReplaceAll(b.text, `"settings"`, `"`+own+`"`)
			if err := os.WriteFile(filepath.Join(dir, p.file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			sh := exec.Command("bash", "-c", p.run)
			sh.Dir = dir
			if out, err := sh.CombinedOutput(); err != nil || string(out) != p.want {
				t.Errorf("docs/other-languages.md:%d: %v, printed %q, want %q", b.line, err, out, p.want)
			}
		})
		delete(programs, b.lang)
	}
	for lang := range programs {
		t.Errorf("docs/other-languages.md has no program in %s", lang)
	}
	if v, err := box.Load(t.Context()); !t.Failed() && (err != nil || v != Settings{46, 7}) {
		t.Errorf("after all programs the value is %+v (%v)", v, err)
	}
}

// TestPythonFollowsInDocument runs the program of docs/other-languages.md that follows a topic.
func TestPythonFollowsInDocument(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skipf("segments need Linux, this is %s", runtime.GOOS)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	dir, own := t.TempDir(), fmt.Sprintf("ticks-%d", os.Getpid())
	ticks, err := topic.Create[Tick](own, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ticks.Close()
	for price := range int64(2) {
		if err := ticks.Publish(t.Context(), Tick{Price: 42 + price}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ticks.End(); err != nil {
		t.Fatal(err)
	}
	look, err := inspect.Open("", own)
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close()
	code, err := look.Type().Generate(inspect.Python, "Topic")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "ticks.py"), code, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range parse(t, filepath.Join(root, "docs/other-languages.md")).blocks {
		if b.lang != "python" || !strings.Contains(b.text, "import ticks") {
			continue
		}
		text := strings.ReplaceAll(b.text, `"ticks"`, `"`+own+`"`)
		if err := os.WriteFile(filepath.Join(dir, "main.py"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		sh := exec.Command("python3", "main.py")
		sh.Dir = dir
		const want = "0 42 lost: 0\n1 43 lost: 0\n"
		if out, err := sh.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("docs/other-languages.md:%d: %v, printed %q, want %q", b.line, err, out, want)
		}
		return
	}
	t.Error("docs/other-languages.md has no program that follows a topic")
}
