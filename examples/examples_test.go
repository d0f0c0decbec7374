package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
)

var bin string // directory of the built examples

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if runtime.GOOS != "linux" {
		return m.Run()
	}
	if _, err := exec.LookPath("go"); err != nil {
		fmt.Println("the examples are not run: they are built by the go command, which is not in PATH")
		return 0
	}
	var err error
	if bin, err = os.MkdirTemp("", "examples-"); err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(bin)
	build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./...")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("%s: %v\n%s", build, err, out)
		return 1
	}
	return m.Run()
}

// A call is one run of an example: its arguments, what it must print (each line a regular
// expression), and whether it fails.
type call struct {
	args  []string
	want  []string
	fails bool
}

func ok(args []string, want ...string) call   { return call{args, want, false} }
func fail(args []string, want ...string) call { return call{args, want, true} }

// restarts are the ways in which hot-restart replaces a server, undisturbed and with servers that
// are killed.
func restarts() (all []call) {
	want := []string{`9 requests are answered and counted`, `the box is gone`}
	for _, how := range []string{"overlap", "apart", "exec"} {
		for _, die := range []string{"", "1:started", "1:opened", "1:accepted", "1:counted", "1:leaving",
			"1:closed", "2:started", "2:opened", "2:counted"} {
			all = append(all, ok([]string{"-how", how, "-die", die}, want...))
		}
	}
	return all
}

// freed is what request-reply prints, whenever its client dies.
var freed = []string{`a client died; boxes that are left of it: 0`, `3 clients are gone`}

var examples = []struct {
	name  string
	calls []call
}{
	{"message-passing", []call{ok(nil,
		`process (\d+): set 1, owner: true`,
		`process (\d+): found 1, setting 42, owner: false`,
		`process (\d+): sees 42`,
		`process (\d+): dropping the message, which says 42`,
	)}},
	{"counter", []call{
		ok(nil, `run 1`),
		ok(nil, `run 2`),
		ok(nil, `run 3`),
		ok([]string{"-end"}, `ends after 3 runs`),
		fail([]string{"-end"}, `shmem: attach \S+: file does not exist.*`),
		ok(nil, `run 1`),
		ok([]string{"-end"}, `ends after 1 runs`),
	}},
	{"workers", []call{ok(nil,
		`process 0 did \d+ of 1000`,
		`process 1 did \d+ of 1000`,
		`process 2 did \d+ of 1000`,
		`process 3 did \d+ of 1000`,
		`78498 primes below 1000000`,
	)}},
	{"hot-restart", restarts()},
	{"worker-pool", []call{ok(nil,
		`killing a worker`,
		`200 jobs done: 78498 primes below 1000000`,
	)}},
	{"calls", []call{ok([]string{"-each", "20", "-kills", "3"},
		`100 callers made 20 additions each, 3 servers were killed`,
	)}},
	{"request-reply", []call{
		ok([]string{"-die", "created"}, freed...),
		ok([]string{"-die", "sent"}, freed...),
		ok([]string{"-die", "waiting"}, freed...),
		ok([]string{"-die", "replied"}, freed...),
	}},
	{"frames", []call{ok(nil,
		`0s a frame: \d+ of 60 frames seen, \d+ lost`,
		`100ms a frame: \d+ of 60 frames seen, \d+ lost`,
	)}},
	{"tail", []call{ok(nil,
		`0 [\d:.]+ process \d+: request 0 served`,
		`1 [\d:.]+ process \d+: request 1 served`,
		`2 [\d:.]+ process \d+: request 2 served`,
		`3 [\d:.]+ process \d+: request 3 served`,
		`4 [\d:.]+ process \d+: request 4 served`,
		`the topic has ended; 0 lines lost`,
	)}},
	{"ffmpeg", []call{ok([]string{"-frames", "40"},
		`40 frames of 2764800 bytes, looked at by two programs`,
		`shared memory .* 2\.\d times what was filmed.*`,
		`pipes .* 6\.\d times what was filmed`,
		`both ways the readers have seen the same`,
	)}},
	{"foreign-python", []call{ok(nil,
		`go sees     1 0.50 "made by Python"`,
		`python sees 2 0.75 "written by Go"`,
		`go sees     3 1.00 "seen by Python"`,
		`go sees     0 0.00 ""`,
		`python sees 1 0.25 "written by Go"`,
		`go sees     2 0.50 "seen by Python"`,
	)}},
}

// TestExamples runs every example, in parallel.
func TestExamples(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skipf("segments need Linux, this is %s", runtime.GOOS)
	}
	built, err := os.ReadDir(bin)
	if err != nil {
		t.Fatal(err)
	}
	if len(built) != len(examples) {
		t.Errorf("there are %d examples, %d are tested", len(built), len(examples))
	}
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			skipWithout(t, e.name)
			name := boxName(t)
			for _, c := range e.calls {
				c.run(t, e.name, name)
			}
		})
	}
}

// skipWithout skips an example whose programs are not installed.
func skipWithout(t *testing.T, example string) {
	needs := map[string][][]string{
		"ffmpeg":         {{"ffmpeg", "-version"}, {"/usr/bin/python3", "-c", "import numpy"}},
		"foreign-python": {{"python3", "-c", "import mmap"}},
	}
	for _, command := range needs[example] {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%q: %v %s", command, err, out)
		}
	}
}

// run runs an example and compares what it prints.
func (c call) run(t *testing.T, example, name string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(bin, example), append([]string{"-name", name}, c.args...)...).CombinedOutput()
	if (err != nil) != c.fails {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if !slices.EqualFunc(lines, c.want, func(line, want string) bool {
		return regexp.MustCompile(`^(?:` + want + `)$`).MatchString(line)
	}) {
		t.Errorf("%q prints\n%s\nwant\n%s", c.args, out, strings.Join(c.want, "\n"))
	}
}

// TestReadme: examples/README.md has a row for every example.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples {
		if !strings.Contains(string(text), "\n| ["+e.name+"]("+e.name+") |") {
			t.Errorf("README.md has no row for %s", e.name)
		}
	}
}

// TestTaken: an example whose box exists already fails, and does not change the box.
func TestTaken(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skipf("segments need Linux, this is %s", runtime.GOOS)
	}
	name := boxName(t)
	box, err := shmem.Create[uint64](name, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(bin, "message-passing"), "-name", name).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "file already exists") {
		t.Errorf("a second run: %v\n%s", err, out)
	}
	if *box.Value() != 0 || !box.Segment().Linked() {
		t.Error("the second run has changed the box")
	}
	if err := box.Close(); err != nil {
		t.Error(err)
	}
}

// boxName returns a name that no other test uses. It fails the test if a segment of that name is
// left.
func boxName(t *testing.T) string {
	name := fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid())
	t.Cleanup(func() {
		if info, err := shmem.Stat("", name); err == nil {
			t.Errorf("left behind: %+v", info)
			_ = shmem.Remove("", name)
		}
	})
	return name
}
