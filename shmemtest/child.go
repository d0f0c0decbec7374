package shmemtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// DefaultLimit is how long a parent waits for a child before it fails the test.
const DefaultLimit = 30 * time.Second

// A Command is a child to be started; only Role is needed.
type Command struct {
	Role string
	Args []string

	// Env is added to the environment, "KEY=value" each.
	Env []string

	// Wrap is a command that runs the child, such as unshare -p -f. Signals
	// then go to its whole process group, and Pid and Wait speak of the
	// wrapping command.
	Wrap []string

	// SysProcAttr may hold what the system offers for a new process. Start
	// works on a copy, in which it puts the child in a process group of its own
	// and, on Linux, has it killed when the test process dies.
	//
	// A test binary is seldom executable by other users: a child that is to be
	// one calls syscall.Setuid itself rather than being given a Credential.
	SysProcAttr *syscall.SysProcAttr

	// Limit is how long the parent waits for anything; 0 is DefaultLimit.
	Limit time.Duration
}

// A Child is a running child process, seen by its parent. Its methods may be
// called by several goroutines. It belongs to the test it was started by, at
// whose end it is killed with all that is in its process group.
type Child struct {
	t     testing.TB
	name  string // role[pid]
	pid   int
	group bool // signals go to the process group
	limit time.Duration
	cmd   *exec.Cmd
	stdin *os.File
	out   *mailbox

	ended   chan struct{} // closed once the process is reaped; then err may be read
	err     error
	readers sync.WaitGroup // those of stdout and stderr
	stuck   sync.Once

	mu     sync.Mutex
	script []string // the lines so far, "> " to the child and "< " from it
	muted  bool     // the test is over: its log must not be touched
}

// Start starts a child in a role. What it writes to its standard error is in the
// test's log, each line behind the child's name.
func Start(t testing.TB, role string, args ...string) *Child {
	t.Helper()
	return Command{Role: role, Args: args}.Start(t)
}

// Start starts the child, which the end of the test kills if it still runs.
func (cmd Command) Start(t testing.TB) *Child {
	t.Helper()
	c, err := cmd.start(t)
	if err != nil {
		t.Fatalf("shmemtest: start %s: %v", cmd.Role, err)
	}
	t.Cleanup(c.cleanup)
	return c
}

func (cmd Command) start(t testing.TB) (*Child, error) {
	if err := use(cmd.Role); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := slices.Concat(cmd.Wrap, strings.Fields(os.Getenv(WrapEnv)), []string{self, argPrefix + cmd.Role}, cmd.Args)
	x := exec.Command(argv[0], argv[1:]...)
	x.Env = append(os.Environ(), cmd.Env...)
	x.SysProcAttr = &syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		*x.SysProcAttr = *cmd.SysProcAttr
	}
	prepare(x.SysProcAttr)

	// Three pipes of our own: with those of exec.Cmd, Wait would close them
	// under the readers.
	var ours, theirs [3]*os.File
	closeAll := func(fs []*os.File) {
		for _, f := range fs {
			if f != nil {
				f.Close()
			}
		}
	}
	defer func() { closeAll(theirs[:]) }()
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours[:])
			return nil, err
		}
		ours[i], theirs[i] = r, w
		if i == 0 {
			ours[i], theirs[i] = w, r
		}
	}
	x.Stdin, x.Stdout, x.Stderr = theirs[0], theirs[1], theirs[2]

	c := &Child{
		t:     t,
		group: len(cmd.Wrap) > 0,
		limit: cmd.Limit,
		cmd:   x,
		stdin: ours[0],
		out:   newMailbox(),
		ended: make(chan struct{}),
	}
	if c.limit <= 0 {
		c.limit = DefaultLimit
	}
	onProcessThread(func() {
		if err = x.Start(); err == nil {
			leaders[x.Process.Pid] = c
		}
	})
	if err != nil {
		closeAll(ours[:])
		return nil, err
	}
	c.pid = x.Process.Pid
	c.name = fmt.Sprintf("%s[%d]", cmd.Role, c.pid)
	c.readers.Add(2)
	go c.readOut(ours[1])
	go c.readErr(ours[2])
	go c.reap()
	return c, nil
}

// use marks a role as used.
func use(role string) error {
	registry.Lock()
	defer registry.Unlock()
	if !registry.main {
		return errors.New("call shmemtest.Main from TestMain")
	}
	if _, ok := registry.roles[role]; !ok {
		return errors.New("no such role: give it to shmemtest.Main")
	}
	registry.used[role] = true
	return nil
}

// Children are started by one thread that never ends, because Linux sends the
// signal for a parent's death when the thread dies that started the child
// (go.dev/issue/27505). All that concerns process groups is done on it too: while
// it is at one thing, no child can start and be given a process id that has just
// become free, and whose group is about to be killed.
var (
	processThread = make(chan func())
	startThread   sync.Once
	leaders       = make(map[int]*Child) // of that thread: who has the process id now
)

func onProcessThread(f func()) {
	startThread.Do(func() {
		go func() {
			runtime.LockOSThread()
			for f := range processThread {
				f()
			}
		}()
	})
	done := make(chan struct{})
	processThread <- func() { defer close(done); f() }
	<-done
}

func (c *Child) reap() {
	err := c.cmd.Wait()
	onProcessThread(func() {
		if leaders[c.pid] != c {
			return // The id has been given anew, so nobody of the group is left.
		}
		delete(leaders, c.pid)
		if c.group {
			killGroup(c.pid)
		}
	})
	c.err = err
	close(c.ended)
}

func (c *Child) readOut(f *os.File) {
	defer c.readers.Done()
	defer f.Close()
	rest := readLines(f, func(s string) {
		c.note("< ", s)
		c.out.put(s)
	})
	if rest != "" {
		c.note("< (cut off) ", rest)
	}
	c.out.close(io.EOF)
}

func (c *Child) readErr(f *os.File) {
	defer c.readers.Done()
	defer f.Close()
	if rest := readLines(f, c.log); rest != "" {
		c.log(rest)
	}
}

func (c *Child) log(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.muted {
		fmt.Fprintf(c.t.Output(), "%s: %s\n", c.name, line)
	}
}

func (c *Child) note(mark, line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.script) >= 2000 {
		c.script = append(c.script[:0], c.script[1000:]...)
	}
	c.script = append(c.script, mark+line)
}

func (c *Child) transcript() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.script) == 0 {
		return "no line has passed"
	}
	return "the lines so far:\n" + strings.Join(c.script, "\n")
}

// Pid returns the process id.
func (c *Child) Pid() int { return c.pid }

// String returns the role and the process id.
func (c *Child) String() string { return c.name }

// Send sends the child a line. A newline within it arrives as the two
// characters \n. There is an error when the child has gone, which a test may
// ignore if it waits for an answer next.
func (c *Child) Send(format string, args ...any) error {
	line := oneLine(format, args)
	c.note("> ", strings.TrimSuffix(line, "\n"))
	c.stdin.SetWriteDeadline(time.Now().Add(c.limit)) // A stopped child does not read.
	if _, err := io.WriteString(c.stdin, line); err != nil {
		return fmt.Errorf("%s: send: %w", c.name, err)
	}
	return nil
}

// Recv returns the child's next line. The error is one for which
// errors.Is(err, io.EOF) holds once the child has ended and every line it sent
// is read. If nothing comes within the time limit, the child is ended with a dump
// of its goroutines, and the test has failed.
func (c *Child) Recv() (string, error) {
	c.t.Helper()
	line, err := c.out.get(c.limit)
	switch {
	case err == nil:
		return line, nil
	case err == errLimit:
		c.giveUp("a line")
		return "", fmt.Errorf("%s: %w", c.name, err)
	}
	select {
	case <-c.ended:
		return "", fmt.Errorf("%s: ended (%s): %w", c.name, c.cmd.ProcessState, err)
	case <-time.After(time.Second):
		return "", fmt.Errorf("%s: has closed its output: %w", c.name, err)
	}
}

// Expect receives a line that must be want, or want followed by a space and
// more, which it returns. Anything else ends the test, as Fatal does.
func (c *Child) Expect(t testing.TB, want string) (rest string) {
	t.Helper()
	line, err := c.Recv()
	if err != nil {
		t.Fatalf("want %q: %v; %s", want, err, c.transcript())
	}
	rest, ok := strings.CutPrefix(line+" ", strings.TrimSuffix(want, " ")+" ")
	if !ok {
		t.Fatalf("%s: got line %q, want %q; %s", c.name, line, want, c.transcript())
	}
	return strings.TrimSuffix(rest, " ")
}

// Ask sends a line and returns the next one that comes. If none does, it ends
// the test, as Fatal does.
func (c *Child) Ask(t testing.TB, format string, args ...any) string {
	t.Helper()
	sendErr := c.Send(format, args...)
	line, err := c.Recv()
	if err = errors.Join(sendErr, err); err != nil {
		t.Fatalf("ask: %v; %s", err, c.transcript())
	}
	return line
}

// Wait waits until the child ends by itself, and returns its exit as an
// *exec.ExitError, nil for 0. If it has not within the time limit, it is ended
// with a dump of its goroutines, and the test has failed. A child that waits for
// a line does not end: see Close.
func (c *Child) Wait() error {
	c.t.Helper()
	if !c.endsWithin(c.limit) {
		c.giveUp("its end")
	}
	select {
	case <-c.ended:
		return c.err
	default:
		return fmt.Errorf("%s: does not end", c.name)
	}
}

// Close lets the child's Recv return io.EOF, and waits as Wait does.
func (c *Child) Close() error {
	c.t.Helper()
	c.stdin.Close()
	return c.Wait()
}

// Kill kills the child at once, also when it is stopped (SIGKILL), and waits
// until nothing is left of it: its locks, mappings and descriptors are gone. It
// does nothing when the child has ended.
func (c *Child) Kill() {
	c.t.Helper()
	c.signal(os.Kill)
	if !c.endsWithin(c.limit) {
		c.t.Errorf("%s: still there %v after it was killed", c.name, c.limit)
	}
}

// Stop stops the child (SIGSTOP). On Linux it returns when no thread of the
// child runs any more.
func (c *Child) Stop() error {
	if stopSignal == nil {
		return fmt.Errorf("%s: stop: %w", c.name, errors.ErrUnsupported)
	}
	if err := c.signal(stopSignal); err != nil {
		return fmt.Errorf("%s: stop: %w", c.name, err)
	}
	for deadline := time.Now().Add(c.limit); !stopped(c.pid, c.group); time.Sleep(100 * time.Microsecond) {
		select {
		case <-c.ended:
			return fmt.Errorf("%s: stop: %w", c.name, os.ErrProcessDone)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: stop: still runs after %v", c.name, c.limit)
		}
	}
	return nil
}

// Continue lets a stopped child run again (SIGCONT).
func (c *Child) Continue() error { return c.Signal(continueSignal) }

// Signal sends a signal. After the child's end the error is os.ErrProcessDone.
func (c *Child) Signal(s os.Signal) error {
	err := errors.ErrUnsupported
	if s != nil && (stopSignal != nil || s == os.Kill) {
		err = c.signal(s)
	}
	if err != nil {
		return fmt.Errorf("%s: signal: %w", c.name, err)
	}
	return nil
}

func (c *Child) signal(s os.Signal) (err error) {
	if !c.group {
		return c.cmd.Process.Signal(s)
	}
	onProcessThread(func() {
		if leaders[c.pid] != c {
			err = os.ErrProcessDone
			return
		}
		err = signalGroup(c.cmd.Process, s)
	})
	return err
}

func (c *Child) endsWithin(d time.Duration) bool {
	// Not the timer alone: a child that has ended has, however late we look.
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.ended:
		return true
	case <-timer.C:
		return false
	}
}

// giveUp ends a child that does not do what it is waited for, with a dump of its
// goroutines in the log, and fails the test.
func (c *Child) giveUp(what string) {
	c.t.Helper()
	c.stuck.Do(func() {
		c.t.Helper()
		if quitSignal != nil {
			c.signal(quitSignal)
			c.signal(continueSignal) // A stopped process does not see the first.
			c.endsWithin(10 * time.Second)
		}
		c.signal(os.Kill)
		c.endsWithin(10 * time.Second)
		c.drain()
		c.t.Errorf("%s: waited %v for %s; its goroutines are in the log above; %s", c.name, c.limit, what, c.transcript())
	})
}

// drain waits until the output of an ended child is read, for a while: somebody
// who left the process group may hold it open.
func (c *Child) drain() bool {
	read := make(chan struct{})
	go func() { c.readers.Wait(); close(read) }()
	select {
	case <-read:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

func (c *Child) cleanup() {
	c.Kill()
	c.stdin.Close()
	// What the child started itself.
	onProcessThread(func() {
		if leaders[c.pid] == nil {
			killGroup(c.pid)
		}
	})
	if !c.drain() {
		c.t.Errorf("%s: has ended, but its output is still open: is there a process it started in another group?", c.name)
	}
	c.mu.Lock()
	c.muted = true
	c.mu.Unlock()
}

// Killed reports whether err, of Wait or Close, says that the child was killed
// (SIGKILL). It is false on systems without signals.
func Killed(err error) bool {
	x, ok := errors.AsType[*exec.ExitError](err)
	return ok && endedBy(x.ProcessState, os.Kill)
}
