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

// DefaultLimit is how long a parent waits for a child until it fails the test.
const DefaultLimit = 30 * time.Second

// A Command describes a child to be started. Only Role is needed.
type Command struct {
	Role string
	Args []string

	// Env is added to the environment, as "KEY=value".
	Env []string

	// Wrap is a command that runs the child, such as unshare -p -f. Then signals go to the whole
	// process group, and Pid and Wait are about the wrapping command.
	Wrap []string

	// SysProcAttr are attributes of the new process. Start changes a copy: the child gets a new
	// process group, and on Linux the kernel kills the child when the test process dies.
	//
	// Other users can seldom execute a test binary. So a child that needs another user calls
	// syscall.Setuid itself, instead of a Credential here.
	SysProcAttr *syscall.SysProcAttr

	// Limit is how long the parent waits for the child in one call; 0 means DefaultLimit.
	Limit time.Duration
}

// A Child is the parent's view of a running child process. Several goroutines may call its methods.
// It belongs to the test that started it. At the end of the test its process group is killed.
type Child struct {
	t     testing.TB
	name  string // role[pid]
	pid   int
	group bool // signals go to the process group
	limit time.Duration
	cmd   *exec.Cmd
	stdin *os.File
	out   *mailbox

	ended   chan struct{} // closed when the process is reaped; then err can be read
	err     error
	readers sync.WaitGroup // of stdout and stderr
	stuck   sync.Once

	mu     sync.Mutex
	script []string // all lines, "> " to the child and "< " from it
	muted  bool     // the test has ended and must not be used
}

// Start starts a child in a role with arguments. What the child writes to its standard error is in
// the test's log, each line after the child's name.
func Start(t testing.TB, role string, args ...string) *Child {
	t.Helper()
	return Command{Role: role, Args: args}.Start(t)
}

// Start starts the child. If it still runs at the end of the test it is killed.
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
	x, err := cmd.prepared()
	if err != nil {
		return nil, err
	}
	ours, theirs, err := pipes()
	if err != nil {
		return nil, err
	}
	defer closeAll(theirs)
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
		err = x.Start()
		for range 3 {
			if err == nil || !mayStartLater(err) {
				break
			}
			time.Sleep(100 * time.Millisecond)
			err = x.Start()
		}
		if err == nil {
			leaders[x.Process.Pid] = c
		}
	})
	if err != nil {
		closeAll(ours)
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

// prepared returns the command that runs the child.
func (cmd Command) prepared() (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	wrap := slices.Concat(cmd.Wrap, strings.Fields(os.Getenv(WrapEnv)))
	argv := slices.Concat(wrap, []string{self, argPrefix + cmd.Role}, cmd.Args)
	x := exec.Command(argv[0], argv[1:]...)
	x.Env = append(os.Environ(), cmd.Env...)
	x.SysProcAttr = &syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		*x.SysProcAttr = *cmd.SysProcAttr
	}
	prepare(x.SysProcAttr)
	return x, nil
}

// pipes returns the ends of three pipes, for standard input, output and error. Those of exec.Cmd do
// not serve: its Wait closes them while they are read.
func pipes() (ours, theirs []*os.File, err error) {
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours)
			closeAll(theirs)
			return nil, nil, err
		}
		if i == 0 {
			r, w = w, r
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	return ours, theirs, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
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

// One thread that never ends starts all children: Linux sends the signal for a parent's death when
// the thread ends that started the child (go.dev/issue/27505). The same thread does all work on
// process groups. So no child can start and get a process id that has just become free while the
// group of that id is about to be killed.
var (
	processThread = make(chan func())
	startThread   sync.Once
	leaders       = make(map[int]*Child) // the child that has a process id now; used by that thread
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
			return // Another child has the id, so no process of the group is left.
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

// Send sends the child a line. A newline in the line arrives as the two characters \n. Send returns
// an error if the child has ended. A test that waits for a line next can ignore the error.
func (c *Child) Send(format string, args ...any) error {
	line := oneLine(format, args)
	c.note("> ", strings.TrimSuffix(line, "\n"))
	c.stdin.SetWriteDeadline(time.Now().Add(c.limit)) // A stopped child does not read.
	if _, err := io.WriteString(c.stdin, line); err != nil {
		return fmt.Errorf("%s: send: %w", c.name, err)
	}
	return nil
}

// Recv returns the child's next line. When the child has ended and all its lines are read Recv
// returns an error that wraps io.EOF. If no line comes within the limit Recv ends the child with a
// dump of its goroutines, and fails the test.
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

// Expect receives a line that must be want, or want followed by a space and more, which it returns.
// For any other line it ends the test, as Fatal does.
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

// Ask sends a line and returns the next one that comes. If none comes it ends the test, as Fatal
// does.
func (c *Child) Ask(t testing.TB, format string, args ...any) string {
	t.Helper()
	sendErr := c.Send(format, args...)
	line, err := c.Recv()
	if err = errors.Join(sendErr, err); err != nil {
		t.Fatalf("ask: %v; %s", err, c.transcript())
	}
	return line
}

// Wait waits until the child ends by itself. It returns nil for exit code 0, else an
// *exec.ExitError. If the child does not end within the limit Wait ends it with a dump of its
// goroutines, and fails the test. A child that waits for a line does not end: see Close.
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

// Close makes the child's Recv return io.EOF, and waits as Wait does.
func (c *Child) Close() error {
	c.t.Helper()
	c.stdin.Close()
	return c.Wait()
}

// Kill kills the child at once, also a stopped one (SIGKILL), and waits until the kernel has freed
// its locks, mappings and descriptors. It does nothing if the child has ended.
func (c *Child) Kill() {
	c.t.Helper()
	c.signal(os.Kill)
	if !c.endsWithin(c.limit) {
		c.t.Errorf("%s: still there %v after it was killed", c.name, c.limit)
	}
}

// Stop stops the child (SIGSTOP, or on Windows NtSuspendProcess). On Linux it returns when no
// thread of the child runs.
func (c *Child) Stop() error {
	if stopSignal == nil {
		return fmt.Errorf("%s: stop: %w", c.name, errors.ErrUnsupported)
	}
	if err := c.signal(stopSignal); err != nil {
		return fmt.Errorf("%s: stop: %w", c.name, err)
	}
	deadline := time.Now().Add(c.limit)
	for ; !stopped(c.pid, c.group); time.Sleep(100 * time.Microsecond) {
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

// Continue makes a stopped child run again (SIGCONT).
func (c *Child) Continue() error { return c.Signal(continueSignal) }

// Signal sends a signal to the child. It returns os.ErrProcessDone if the child has ended.
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
		return signalProcess(c.cmd.Process, s)
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
	// The child comes before the timer: if it has ended the timer does not matter.
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.ended:
		return true
	case <-timer.C:
		return false
	}
}

// giveUp ends a child that does not do what a call waits for, writes a dump of its goroutines to
// the log, and fails the test.
func (c *Child) giveUp(what string) {
	c.t.Helper()
	c.stuck.Do(func() {
		c.t.Helper()
		if quitSignal != nil {
			c.signal(quitSignal)
			c.signal(continueSignal) // A stopped process does not handle the first one.
			c.endsWithin(10 * time.Second)
		}
		c.signal(os.Kill)
		c.endsWithin(10 * time.Second)
		c.drain()
		c.t.Errorf("%s: waited %v for %s; its goroutines are in the log above; %s", c.name, c.limit,
			what, c.transcript())
	})
}

// drain waits until the output of an ended child is read, but not for long: a process that has left
// the process group may keep the output open.
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
	// Processes that the child has started.
	onProcessThread(func() {
		if leaders[c.pid] == nil {
			killGroup(c.pid)
		}
	})
	if !c.drain() {
		c.t.Errorf("%s: has ended, but its output is still open: is there a process it started "+
			"in another group?", c.name)
	}
	c.mu.Lock()
	c.muted = true
	c.mu.Unlock()
}

// Killed reports whether an error of Wait or Close says that the child was killed: by Kill or Die,
// or by SIGKILL.
func Killed(err error) bool {
	x, ok := errors.AsType[*exec.ExitError](err)
	return ok && endedBy(x.ProcessState, os.Kill)
}

// Die ends this process at once, as SIGKILL does: no deferred function runs, and no other goroutine
// goes on. A Role calls it to die at a chosen place. It does not return.
func Die() {
	die()
	select {}
}
