// Package shmemtest helps to test programs that share memory. It runs scripted child processes that
// a test can stop and kill at any moment, provides fresh directories in memory, and reports what a
// test has not cleaned up.
//
// A child is a second process of the test binary, in a named [Role]. It can use everything that the
// tests can, and never runs tests. Parent and child exchange lines over the child's standard input
// and output. So a test waits for a line, and never for an amount of time:
//
//	func TestMain(m *testing.M) {
//		shmemtest.Main(m, shmemtest.Role{Name: "counter", Run: counter})
//	}
//
//	// counter is the child: it counts in a file until its parent closes it.
//	func counter(c *shmemtest.Conn) error {
//		path := c.Args()[0]
//		for n := 1; ; n++ {
//			line, err := c.Recv()
//			if err != nil {
//				return err // io.EOF: the parent has closed the child
//			}
//			if line != "add" {
//				return fmt.Errorf("unknown command %q", line)
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
// The package works on all systems of Go. Leaks of file descriptors and mappings are found on Linux
// only. [Child.Stop], [Child.Continue] and [Child.Signal] return [errors.ErrUnsupported] on systems
// without signals.
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

// WrapEnv is the environment variable with the command of an emulator, such as "qemu-arm", as words
// separated by spaces. If it is set children run under this command.
//
//	GOARCH=arm SHMEMTEST_WRAP=qemu-arm go test -exec qemu-arm ./...
const WrapEnv = "SHMEMTEST_WRAP"

// A Role is what a child process does.
type Role struct {
	// Name is the name that Start uses. It has no spaces.
	Name string

	// Run runs the child. When it returns nil, or the bare io.EOF of Conn.Recv, the child exits
	// with 0. Any other error is written to standard error, and the child exits with 1.
	Run func(c *Conn) error

	// Optional tells that a run of all tests need not start the role: the tests that start it are
	// skipped on some machines.
	Optional bool
}

// argPrefix begins the first argument of a child, and the role's name follows. It is an argument,
// not an environment variable, for two reasons. A wrapping command may clear the environment, and a
// child without the variable would run the tests, which start children. And programs that a child
// starts would inherit the variable.
const argPrefix = "shmemtest:"

// registry holds the roles of Main, and which of them were used.
var registry struct {
	sync.Mutex
	main  bool
	roles map[string]Role
	used  map[string]bool
}

// Main is a whole TestMain. In a child process it runs the child's role. Otherwise it runs the
// tests. After they have passed Main still fails if
//
//   - a role that is not Optional was never started (not checked with -short or a flag that selects
//     tests),
//   - a file descriptor is open that was not open before,
//   - a file in /dev/shm or a memfd is mapped that was not mapped before,
//   - a child process is left, running or not waited for (Main kills it),
//   - a directory of Dir is left.
//
// Main does not return. On Linux it makes the test process the parent of its orphaned descendants
// (PR_SET_CHILD_SUBREAPER), so that it also finds processes that outlive their parents. A process
// that has started its own session counts as a daemon, and is left alone.
func Main(m *testing.M, roles ...Role) {
	byName := make(map[string]Role)
	for _, r := range roles {
		if r.Name == "" || strings.ContainsAny(r.Name, " \t\n") || r.Run == nil ||
			byName[r.Name].Run != nil {
			fmt.Fprintf(os.Stderr, "shmemtest: role %q: a role needs a unique name "+
				"without spaces, and a Run\n", r.Name)
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
	// Fuzzing has its own processes and files, here and in workers.
	if code != 0 || flagSet("test.fuzz") || flagSet("test.fuzzworker") {
		endProcesses()
		os.Exit(code)
	}

	var faults []string
	report := func(f string) {
		fmt.Fprintf(os.Stderr, "shmemtest: %s\n", f)
		faults = append(faults, f)
	}
	if full() {
		for _, name := range unusedRoles() {
			report(fmt.Sprintf("role %q was never started by a test: remove it, or mark it "+
				"Optional", name))
		}
	}
	for _, name := range left {
		report("directory left: " + name)
	}
	for _, f := range settle(leftProcesses) {
		report("child process left: " + f)
	}
	endProcesses()
	for _, f := range settle(func() []string { return added(fds, openFiles()) }) {
		report("file descriptor left open: " + f)
	}
	for _, f := range settle(func() []string { return added(maps, mappedFiles()) }) {
		report("mapping left: " + f)
	}
	if len(faults) > 0 {
		code = 1
	}
	os.Exit(code)
}

// primePoller makes the Go runtime open the descriptors that it keeps.
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

// full reports whether all tests are run.
func full() bool {
	return !testing.Short() && !flagSet("test.run") && !flagSet("test.skip") &&
		!flagSet("test.list")
}

func flagSet(name string) bool {
	f := flag.Lookup(name)
	return f != nil && f.Value.String() != f.DefValue
}

// settle calls list until it returns nothing, for up to two seconds: goroutines that close
// something when the tests end may need a moment.
func settle(list func() []string) []string {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if s := list(); len(s) == 0 || time.Now().After(deadline) {
			return s
		}
	}
}

// added returns what is in after and not in before.
func added(before, after []string) []string {
	return slices.DeleteFunc(after, func(s string) bool { return slices.Contains(before, s) })
}
