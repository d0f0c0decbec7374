// Command shmem shows shared memory: what there is, whose it is, what is in it and what is stuck.
//
//	go install github.com/shmembox/shmem/cmd/shmem@latest
//	shmem ls
//
// Everything that only reads takes no lock and no slot, so that looking never changes what becomes of
// a segment; it works on what crashed programs have left, and on other users' segments as far as
// permissions allow. `shmem --help` tells the rest. Exit codes:
//
//	0  done
//	1  it failed, or doctor found a problem
//	2  the command line is wrong
//	3  there is nothing of that name
//	4  refused: the schema, the segment's state or the permissions do not allow it
//	5  busy: somebody holds the lock or the gate
//
// What a signal ends before it is done (pump, tail, replay) exits with 128 and the signal's number.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
)

const help = `See into shared memory: what there is, whose it is, what is in it and what is stuck.

Start with "shmem ls", then "shmem stat NAME" and "shmem cat NAME". Everything that reads takes no
lock: it disturbs nobody and keeps nothing alive.`

const exitCodes = `Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such segment, 4 refused, 5 busy, 130 and 143 by a signal.`

// Exit codes.
const (
	exitFailed = 1 + iota
	exitUsage
	exitAbsent
	exitRefused
	exitBusy
)

type cli struct {
	Dir   string           `short:"d" default:"/dev/shm" env:"SHMEM_DIR" placeholder:"DIR" help:"Directory of the segments; default ${default}."`
	Color string           `enum:"auto,always,never" default:"auto" placeholder:"WHEN" help:"Colours: auto (on a terminal, unless $$NO_COLOR is set), always, never."`
	Ver   kong.VersionFlag `name:"version" help:"Show the version."`

	Ls         lsCmd         `cmd:"" help:"List segments: type, size, owner, state."`
	Stat       statCmd       `cmd:"" help:"Everything about one segment: control block, slots, locks, waiters, fate."`
	Cat        catCmd        `cmd:"" help:"Show the value, by its own schema."`
	Set        setCmd        `cmd:"" help:"Change fields of a value, under the box's lock."`
	Watch      watchCmd      `cmd:"" help:"Show a value live, with what changes."`
	Top        topCmd        `cmd:"" help:"Show all segments live."`
	Pump       pumpCmd       `cmd:"" help:"Send standard input to a queue or topic, by lines or frames."`
	Tail       tailCmd       `cmd:"" help:"Receive from a queue or topic to standard output."`
	Record     recordCmd     `cmd:"" help:"Record a topic to a file."`
	Replay     replayCmd     `cmd:"" help:"Publish what was recorded, at its pace."`
	Diff       diffCmd       `cmd:"" help:"Show what changes in a value within some time."`
	Gc         gcCmd         `cmd:"" help:"Take away what dead programs have left, and say why."`
	Rm         rmCmd         `cmd:"" help:"Remove segments, whatever their state."`
	Doctor     doctorCmd     `cmd:"" help:"Check the machine: is shared memory set up well?"`
	Gen        genCmd        `cmd:"" help:"Generate C, Python, Rust or Go code that joins a segment."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
}

// A context is what a verb needs of the world.
type env struct {
	ctx      context.Context
	verb     string
	dir      string
	out, err io.Writer
	style    style
	width    int
	height   int
	tty      bool
}

func (e *env) opts() *shmem.Options { return &shmem.Options{Dir: e.dir} }

// usageError is an error of the command line.
type usageError struct{ error }

// exitError carries an exit code and has been reported already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var c cli
	code := -1
	p, err := kong.New(&c, kong.Name("shmem"), kong.Description(help+"\n\n"+exitCodes), kong.Vars{"version": version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}), kong.Exit(func(n int) { code = n }))
	if err != nil {
		panic(err)
	}
	if len(args) == 0 {
		args = []string{"ls"}
	}
	k, err := p.Parse(args)
	if code >= 0 { // --help, --version
		return code
	}
	e := newEnv(&c)
	if err != nil {
		fmt.Fprintf(os.Stderr, "shmem: %v\n", err)
		fmt.Fprintln(os.Stderr, "shmem --help shows what there is")
		return exitUsage
	}
	w := &buffered{}
	if f, ok := e.out.(*os.File); ok {
		w.f = f
		e.out = w
	}
	e.verb, _, _ = strings.Cut(k.Command(), " ")
	err = k.Run(e, p)
	w.flush()
	return e.report(err)
}

// A buffered standard output, without which 10,000 lines are as many system calls.
type buffered struct {
	f *os.File
	b []byte
}

func (w *buffered) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	if len(w.b) > 64<<10 {
		w.flush()
	}
	return len(p), nil
}

func (w *buffered) flush() {
	if w.f != nil && len(w.b) > 0 {
		_, _ = w.f.Write(w.b)
		w.b = w.b[:0]
	}
}

// report shows an error and says with which code to exit.
func (e *env) report(err error) int {
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.Is(err, context.Canceled) && e.ctx.Err() != nil:
		return e.report(e.signalled())
	}
	text := err.Error()
	if !strings.HasPrefix(text, "shmem: ") {
		text = "shmem: " + text
	}
	fmt.Fprintln(e.err, text)
	if hint := e.hint(err); hint != "" {
		fmt.Fprintln(e.err, "  "+hint)
	}
	var usage usageError
	switch {
	case errors.As(err, &usage), errors.Is(err, shmem.ErrBadName):
		return exitUsage
	case errors.Is(err, fs.ErrNotExist):
		return exitAbsent
	case errors.Is(err, shmem.ErrBusy), errors.Is(err, shmem.ErrContended), errors.Is(err, context.DeadlineExceeded):
		return exitBusy
	case errors.Is(err, shmem.ErrMismatch), errors.Is(err, shmem.ErrForeign), errors.Is(err, shmem.ErrCorrupt), errors.Is(err, shmem.ErrVersion),
		errors.Is(err, shmem.ErrNotRegular), errors.Is(err, shmem.ErrOtherUser), errors.Is(err, shmem.ErrReadOnly),
		errors.Is(err, fs.ErrPermission), errors.Is(err, shmem.ErrNoSlot), errors.Is(err, psync.ErrOwnerDied), errors.Is(err, errRefused):
		return exitRefused
	}
	return exitFailed
}

// errRefused: the command will not do that.
var errRefused = errors.New("refused")

func (e *env) hint(err error) string {
	_, noDir := os.Stat(e.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && noDir != nil:
		return "there is no directory " + e.dir + "; --dir or $SHMEM_DIR says where segments are"
	case errors.Is(err, fs.ErrNotExist):
		if n := e.near(err); n != "" {
			return "did you mean " + n + "? `shmem ls` lists what there is"
		}
		return "`shmem ls` lists what there is in " + e.dir
	case errors.Is(err, context.DeadlineExceeded):
		return "somebody holds the lock: `shmem stat` shows who; --timeout waits longer"
	case errors.Is(err, shmem.ErrFault):
		return "somebody truncated the file; `shmem rm` takes it away"
	}
	return ""
}

// near is a name that is like the one that was not found.
func (e *env) near(err error) string {
	var se *shmem.Error
	if !errors.As(err, &se) || se.Name == "" {
		return ""
	}
	d, _ := os.ReadDir(e.dir)
	best, least := "", 3
	for _, f := range d {
		if n := distance(se.Name, f.Name(), least); n < least && n > 0 { // 0: another one of that name
			best, least = f.Name(), n
		}
	}
	return best
}

// distance is how many letters to change, add or take to get from a to b.
func distance(a, b string, limit int) int {
	if len(a) > 64 || len(b) > 64 || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			n := diag
			if a[i-1] != b[j-1] {
				n = 1 + min(diag, row[j], row[j-1])
			}
			diag, row[j] = row[j], n
		}
	}
	return row[len(b)]
}

func since(t time.Time) string {
	if t.IsZero() || t.Unix() <= 0 {
		return "-"
	}
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
