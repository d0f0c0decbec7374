// Package shmemtest is for tests of programs that share memory: it runs
// scripted child processes that can be stopped and killed at any moment, gives
// fresh directories in memory, and finds what a test forgot to give back.
//
// A child is the test binary started again in a named [Role], so it can use
// everything the tests can. It never runs tests. Parent and child talk in
// lines, the child's standard input and output, so that a test waits for an
// answer and never for an amount of time:
//
//	func TestMain(m *testing.M) {
//		shmemtest.Main(m, shmemtest.Role{Name: "counter", Run: counter})
//	}
//
//	// counter is the child: it counts in a file until it is told to leave.
//	func counter(c *shmemtest.Conn) error {
//		path := c.Args()[0]
//		for n := 1; ; n++ {
//			line, err := c.Recv()
//			if err != nil {
//				return err // io.EOF: leave
//			}
//			if line != "add" {
//				return fmt.Errorf("what is %q?", line)
//			}
//			if err := os.WriteFile(path, fmt.Append(nil, n), 0o600); err != nil {
//				return err
//			}
//			c.Send("count %d", n)
//		}
//	}
//
//	func TestCounterIsKilled(t *testing.T) {
//		path := filepath.Join(shmemtest.Dir(t), "n")
//		c := shmemtest.Start(t, "counter", path)
//		c.Send("add")
//		c.Send("add")
//		c.Expect(t, "count 1")
//		c.Expect(t, "count 2")
//		c.Kill()
//		if got, _ := os.ReadFile(path); string(got) != "2" {
//			t.Errorf("after the kill the file holds %q, want 2", got)
//		}
//		os.Remove(path) // Dir fails a test that leaves files
//	}
//
// The package works wherever Go does. What needs the system's help is there
// where the system is: leaks of file descriptors and mappings are looked for on
// Linux, and [Child.Stop], [Child.Continue] and [Child.Signal] return
// [errors.ErrUnsupported] on systems without signals.
package shmemtest

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// WrapEnv is the environment variable that holds an emulator's command, words
// separated by spaces, such as "qemu-arm": children then run under it too.
//
//	GOARCH=arm SHMEMTEST_WRAP=qemu-arm go test -exec qemu-arm ./...
const WrapEnv = "SHMEMTEST_WRAP"

// A Role is what a child process does.
type Role struct {
	// Name is what Start is given.
	Name string

	// Run is the child's life. When it returns nil, or the bare io.EOF of
	// Conn.Recv, the child exits with 0; any other error goes to standard
	// error and the child exits with 1.
	Run func(c *Conn) error

	// Optional roles may stay unused: the tests that start them are skipped
	// on some machines.
	Optional bool
}

// argPrefix begins the first argument of a child; the role's name follows. It
// is an argument and not an environment variable because a wrapping command may
// clear the environment, and a child that misses it would run the tests, which
// start children; and because the programs a child starts inherit nothing.
const argPrefix = "shmemtest:"

// registry is what Main was given, and what has been used of it.
var registry struct {
	sync.Mutex
	main  bool
	roles map[string]Role
	used  map[string]bool
}

// Main is the whole of a TestMain. In a child process it runs the child's role.
// Otherwise it runs the tests, and when they pass it fails all the same if
//
//   - a role that is not Optional was never started (only asked of a full run:
//     not with -short or a flag that selects tests),
//   - a file descriptor is open that was not open before,
//   - a file in /dev/shm or a memfd is mapped that was not before,
//   - a child process is left, running or not waited for (it is killed),
//   - a directory of Dir is left.
//
// Main does not return. On Linux it makes the test process the adoptive parent
// of its orphaned descendants (PR_SET_CHILD_SUBREAPER), so that those that
// outlive their parents are found too; a process that has started a session of
// its own is taken for a daemon and let go.
func Main(m *testing.M, roles ...Role) {
	byName := make(map[string]Role)
	for _, r := range roles {
		if r.Name == "" || strings.ContainsAny(r.Name, " \t\n") || r.Run == nil || byName[r.Name].Run != nil {
			fmt.Fprintf(os.Stderr, "shmemtest: role %q: a role needs a name of its own without spaces, and a Run\n", r.Name)
			os.Exit(2)
		}
		byName[r.Name] = r
	}
	if len(os.Args) > 1 {
		if name, ok := strings.CutPrefix(os.Args[1], argPrefix); ok {
			os.Exit(runChild(byName, name, os.Args[2:]))
		}
	}

	registry.Lock()
	registry.main = true
	registry.roles = byName
	registry.used = make(map[string]bool)
	registry.Unlock()

	adoptOrphans()
	primePoller()
	fds, maps := openFiles(), mappedFiles()
	code := m.Run()
	left := removeBase()
	// A fuzzing run has processes and files of its own, here and in workers.
	if code != 0 || flagSet("test.fuzz") || flagSet("test.fuzzworker") {
		endProcesses()
		os.Exit(code)
	}

	var faults []string
	complain := func(f string) {
		fmt.Fprintf(os.Stderr, "shmemtest: %s\n", f)
		faults = append(faults, f)
	}
	if full() {
		for _, name := range unusedRoles() {
			complain(fmt.Sprintf("role %q was never started by a test: remove it, or mark it Optional", name))
		}
	}
	for _, name := range left {
		complain("directory left: " + name)
	}
	for _, f := range settle(leftProcesses) {
		complain("child process left: " + f)
	}
	endProcesses()
	for _, f := range settle(func() []string { return added(fds, openFiles()) }) {
		complain("file descriptor left open: " + f)
	}
	for _, f := range settle(func() []string { return added(maps, mappedFiles()) }) {
		complain("mapping left: " + f)
	}
	if len(faults) > 0 {
		code = 1
	}
	os.Exit(code)
}

// primePoller has the Go runtime open the descriptors it keeps for itself.
func primePoller() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
}

func unusedRoles() []string {
	registry.Lock()
	defer registry.Unlock()
	var names []string
	for name, r := range registry.roles {
		if !r.Optional && !registry.used[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// full reports whether every test was asked for.
func full() bool {
	return !testing.Short() && !flagSet("test.run") && !flagSet("test.skip") && !flagSet("test.list")
}

func flagSet(name string) bool {
	f := flag.Lookup(name)
	return f != nil && f.Value.String() != f.DefValue
}

// settle asks until the answer is empty, or for two seconds: goroutines that
// are about to close something when the tests end may need a moment.
func settle(ask func() []string) []string {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if s := ask(); len(s) == 0 || time.Now().After(deadline) {
			return s
		}
	}
}

// added returns what is in after and not in before.
func added(before, after []string) []string {
	return slices.DeleteFunc(after, func(s string) bool { return slices.Contains(before, s) })
}
