package shmemtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// grace is how long a child may run after its parent has closed it or ended.
const grace = 10 * time.Second

// A Conn is the child's connection to its parent. Several goroutines may use it.
//
// What the child writes to os.Stdout goes to its standard error, and not between the lines.
type Conn struct {
	args []string
	in   *mailbox
	mu   sync.Mutex
	out  io.Writer
}

// Args returns the arguments of Start.
func (c *Conn) Args() []string { return c.args }

// Recv returns the parent's next line. When the parent has closed the child or has ended Recv
// returns the bare io.EOF. Then the child must end within ten seconds, or it is ended.
func (c *Conn) Recv() (string, error) { return c.in.get(0) }

// Send sends a line to the parent. A newline in the line arrives as the two characters \n.
func (c *Conn) Send(format string, args ...any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := io.WriteString(c.out, oneLine(format, args))
	return err
}

func oneLine(format string, args []any) string {
	s := strings.TrimSuffix(fmt.Sprintf(format, args...), "\n")
	return strings.ReplaceAll(s, "\n", `\n`) + "\n"
}

// runChild runs a child process and returns its exit code.
func runChild(roles map[string]Role, name string, args []string) int {
	r, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "shmemtest: no role %q in this program\n", name)
		return 2
	}
	c := &Conn{args: args, in: newMailbox(), out: os.Stdout}
	os.Stdout = os.Stderr
	in := os.Stdin
	go func() {
		readLines(in, c.in.put)
		time.AfterFunc(grace, func() {
			fmt.Fprintf(os.Stderr,
				"shmemtest: role %s still runs %v after its parent left; ending it\n", name, grace)
			os.Exit(3)
		})
		c.in.close(io.EOF)
	}()
	// Not errors.Is: an EOF from elsewhere is wrapped, and is an error.
	if err := r.Run(c); err != nil && err != io.EOF {
		fmt.Fprintf(os.Stderr, "role %s: %v\n", name, err)
		return 1
	}
	return 0
}

// readLines delivers complete lines until r ends. It returns what came after the last one: a line
// that a killed process has not completed.
func readLines(r io.Reader, line func(string)) (rest string) {
	b := bufio.NewReader(r)
	for {
		s, err := b.ReadString('\n')
		if err != nil {
			return s
		}
		line(strings.TrimSuffix(s, "\n"))
	}
}

var errLimit = errors.New("no line within the time limit")

// A mailbox is an unbounded queue of lines: neither side of a pipe waits until the other side
// reads.
type mailbox struct {
	mu    sync.Mutex
	cond  sync.Cond
	lines []string
	err   error // the reason why no line comes any more
}

func newMailbox() *mailbox {
	b := &mailbox{}
	b.cond.L = &b.mu
	return b
}

func (b *mailbox) put(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, s)
	b.cond.Broadcast()
}

func (b *mailbox) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	b.cond.Broadcast()
}

// get returns the next line. If no line comes within limit it returns errLimit. A limit of 0 is
// none.
func (b *mailbox) get(limit time.Duration) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	expired := false
	if limit > 0 && len(b.lines) == 0 && b.err == nil {
		defer time.AfterFunc(limit, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			expired = true
			b.cond.Broadcast()
		}).Stop()
	}
	for len(b.lines) == 0 && b.err == nil && !expired {
		b.cond.Wait()
	}
	switch {
	case len(b.lines) > 0:
		s := b.lines[0]
		b.lines = b.lines[1:]
		return s, nil
	case b.err != nil:
		return "", b.err
	}
	return "", errLimit
}
