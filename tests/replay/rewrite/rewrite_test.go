package rewrite

import (
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// exports has the compiled standard packages that the tests import.
var exports = sync.OnceValue(func() map[string]string {
	list, err := goList(".", nil, "-deps", "-export", "sync", "time")
	if err != nil {
		panic(err)
	}
	m := map[string]string{}
	for _, p := range list {
		m[p.ImportPath] = p.Export
	}
	return m
})

// translate translates one file of a package of the library.
func translate(t *testing.T, src string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.go")
	if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	tr := &translation{root: dir, dir: t.TempDir(), set: token.NewFileSet(), out: map[string]string{}, edited: map[string][]byte{}, state: map[*types.Var]string{}}
	p := &pkg{ImportPath: module + "/x", Dir: dir, GoFiles: []string{"x.go"}}
	if err := tr.check(p, importer.ForCompiler(tr.set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports()[path]) })); err != nil {
		t.Fatal(err)
	}
	tr.list = []*pkg{p}
	tr.findState(p)
	tr.nameState()
	tr.rewrite(p, 0)
	if len(tr.errs) > 0 {
		return "", tr.errs[0]
	}
	to := tr.out[path]
	if to == "" {
		return src, nil
	}
	b, err := os.ReadFile(to)
	return string(b), err
}

const head = "package x\n\nimport \"sync\"\n\nvar mu sync.Mutex\n\nvar limit = 3\n\n"

// Each statement is translated on its line.
func TestTranslate(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{"func f(c chan int) { c <- limit }", "func f(c chan int) { replayworld.Send(c , limit) }"},
		{"func f(c chan int) { <-c }", "func f(c chan int) { replayworld.Recv(c) }"},
		{"func f(c chan int) { close(c) }", "func f(c chan int) { replayworld.Close(c) }"},
		{"func f() { go func() { mu.Lock() }() }", "func f() { replayworld.Spawn(func() { (*mu.P()).Lock() }) }"},
		{"func f() { go g(limit, 1) }\nfunc g(int, int) {}", "func f() { { replayf, replay0, replay1 := g, limit, 1; replayworld.Spawn(func() { replayf(replay0, replay1) }) } }\nfunc g(int, int) {}"},
		{
			"func f(c, d chan int) bool {\n\tselect {\n\tcase <-c:\n\t\treturn true\n\tcase d <- limit:\n\t\treturn false\n\t}\n}",
			"func f(c, d chan int) bool {\n\tswitch replayworld.Select(false, replayworld.RecvCase(c), replayworld.SendCase(d, limit)) {\n\tcase 0:\n\t\treturn true\n\tdefault:\n\t\treturn false\n\t}\n}",
		},
		{
			"func f(c chan int) {\n\tselect {\n\tcase <-c:\n\tdefault:\n\t}\n}",
			"func f(c chan int) {\n\tswitch replayworld.Select(true, replayworld.RecvCase(c)) {\n\tcase 0:\n\tdefault:\n\t}\n}",
		},
		{"func f(m map[int]int) {\n\tfor k := range m {\n\t\t_ = k\n\t}\n}", "func f(m map[int]int) {\n\tfor k := range replayworld.Range(m) {\n\t\t_ = k\n\t}\n}"},
		{"func f() *sync.Mutex { return &mu }", "func f() *sync.Mutex { return &(*mu.P()) }"},
	} {
		got, err := translate(t, head+c.from)
		if err != nil {
			t.Errorf("%s: %v", c.from, err)
			continue
		}
		if !strings.Contains(got, c.to) {
			t.Errorf("%s\nis translated to\n%s\nwhich is not\n%s", c.from, got, c.to)
		}
		if strings.Contains(c.from, "mu") != strings.Contains(got, `var mu = replayworld.PerProcess[sync.Mutex]("x.mu", nil)`) || !strings.Contains(got, "var limit = 3") {
			t.Errorf("the variables are wrong in\n%s", got)
		}
		if strings.Count(got, "\n") != strings.Count(head+c.from, "\n") {
			t.Errorf("lines have moved in\n%s", got)
		}
	}
}

// What cannot be translated is an error with file and line.
func TestRefuse(t *testing.T) {
	for _, src := range []string{
		"func f(c chan int) int { return <-c }",
		"func f(c chan int) {\n\tfor range c {\n\t}\n}",
		"func f(c chan int) {\n\tselect {\n\tcase v := <-c:\n\t\t_ = v\n\t}\n}",
	} {
		if _, err := translate(t, head+src); err == nil || !strings.Contains(err.Error(), "x.go:") {
			t.Errorf("%s: %v", src, err)
		}
	}
}

// A variable keeps its first value, in each process.
func TestVariables(t *testing.T) {
	got, err := translate(t, "package x\n\nimport \"time\"\n\nvar began = time.Now()\n\nvar n int = 5\n\nfunc f() { n++; _ = began }\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`var began = replayworld.PerProcess("x.began", func(p *time.Time) { *p = time.Now() })`,
		`var n = replayworld.PerProcess("x.n", func(p *int) { *p = 5 })`,
		`func f() { (*n.P())++; _ = (*began.P()) }`,
		`import "` + shims + `time"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nis not in\n%s", want, got)
		}
	}
}

// The edits that make runs shorter still find their text.
func TestFaster(t *testing.T) {
	tr := &translation{root: "../../.."}
	if n := len(tr.possible(faster)); n != len(faster) {
		t.Errorf("%d of %d edits find their text", n, len(faster))
	}
}
