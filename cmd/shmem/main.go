// Command shmem shows shared memory: which segments there are, to which processes they belong, what
// is in them and what is stuck.
//
//	go install github.com/shmembox/shmem/cmd/shmem@latest
//	shmem ls
//
// Commands that only read take no lock and no slot, so looking at a segment never changes what
// becomes of it. They work on what crashed programs have left, and on other users' segments as far
// as permissions allow. `shmem --help` lists the commands. Exit codes:
//
//	0  done
//	1  it failed, or doctor or check found a problem
//	2  the command line is wrong
//	3  there is no segment of that name
//	4  refused: the schema, the segment's state or the permissions do not allow it
//	5  busy: another process holds the lock or the gate
//
// A command that a signal ends before it is done (pump, tail, replay) exits with 128 plus the
// number of the signal.
//
// The files are by noun: one for each command, and
//
//	errors.go    exit codes and hints
//	safe.go      what keeps names and texts from acting on a terminal
//	style.go     colours
//	text.go      numbers and words in columns
//	table.go     tables
//	screen.go    live views
//	signal.go    interrupts
//	topic.go     a topic whose type is known at run time only
//
// testdata has the scenarios that are tested.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/sys"
)

const intro = `See into shared memory: which segments there are, to which processes they belong,
what is in them and what is stuck.

Start with "shmem ls", then "shmem stat NAME" and "shmem cat NAME". Commands that read take no lock:
they disturb no process and keep nothing alive.`

const exitCodes = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such segment, 4 refused, " +
	"5 busy, 128 and the number of the signal."

type cli struct {
	Dir   string           `short:"d" default:"${dir}" env:"SHMEM_DIR" placeholder:"DIR" help:"Directory of the segments; default ${default}."`
	In    int              `name:"pid" placeholder:"PID" help:"The directory as the process PID sees it, such as one in a container."`
	Every bool             `name:"containers" help:"ls, ps, check, top: the directories of all containers too."`
	Color string           `enum:"auto,always,never" default:"auto" placeholder:"WHEN" help:"Colours: auto (on a terminal, unless $$NO_COLOR is set), always, never."`
	Ver   kong.VersionFlag `name:"version" help:"Show the version."`

	Ls         lsCmd         `cmd:"" help:"List segments: type, size, owner, state."`
	Stat       statCmd       `cmd:"" help:"Everything about one segment: control block, slots, locks, waiters, fate."`
	Cat        catCmd        `cmd:"" help:"Show the value, by its own schema."`
	Set        setCmd        `cmd:"" help:"Change fields of a value, under the box's lock."`
	Watch      watchCmd      `cmd:"" help:"Show a value live, with what changes."`
	Top        topCmd        `cmd:"" help:"Show all segments live."`
	Serve      serveCmd      `cmd:"" help:"Serve a live page for a browser, and metrics."`
	Pump       pumpCmd       `cmd:"" help:"Send standard input to a queue or topic, by lines or frames."`
	Tail       tailCmd       `cmd:"" help:"Receive from a queue or topic to standard output."`
	Record     recordCmd     `cmd:"" help:"Record a topic to a file."`
	Replay     replayCmd     `cmd:"" help:"Publish what was recorded, at its pace."`
	Diff       diffCmd       `cmd:"" help:"Show what changes in a value within some time."`
	Gc         gcCmd         `cmd:"" help:"Remove what dead processes have left, and say why."`
	Rm         rmCmd         `cmd:"" help:"Remove segments, whatever their state."`
	Check      checkCmd      `cmd:"" help:"Find what is wrong, worst first, and say which command helps."`
	Ps         psCmd         `cmd:"" help:"Show what each process is attached to, holds and waits for."`
	Recover    recoverCmd    `cmd:"" help:"Recover a value or a lock whose holder died, or end leases."`
	Doctor     doctorCmd     `cmd:"" help:"Check the machine: is shared memory set up well?"`
	Gen        genCmd        `cmd:"" help:"Generate C, Python, Rust or Go code that joins a segment."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
	Version    versionCmd    `cmd:"" help:"Show the version, the commit, and the versions of the formats."`
	Man        manCmd        `cmd:"" help:"Print the man page."`
	Names      namesCmd      `cmd:"" name:"__names" hidden:"" help:"Print the names that completion offers."`
}

// An env is what a command needs of the world: where segments are, where output goes, and what the
// terminal can show.
type env struct {
	ctx      context.Context // done by a signal; see interrupted
	verb     string          // the command's name, for errors
	dir      string
	out, err io.Writer // text: see guard
	raw      io.Writer // bytes that are written as they are, in the same order as out
	stdout   *buffered // behind both
	style    style
	unlinked func(dir string) ([]shmem.Info, error) // inspect.Unlinked
	// in tests: no other process is searched for files without a name, which takes time
	alone bool
	// --containers: the directories of all containers too
	containers bool
	width      int // columns
	height     int // lines
	tty        bool
}

// opts are the options for attaching to a segment, wherever it is.
func (e *env) opts() *shmem.Options { return &shmem.Options{Dir: e.dir, Disk: true} }

func main() { os.Exit(run(os.Args[1:])) }

// garbagePercent is how much garbage there may be, in percent of what is in use, before it is
// collected. It takes a seventh of the time of looking at 10,000 segments.
const garbagePercent = 400

// run executes a command line and returns the exit code.
func run(args []string) int {
	var c cli
	code, help := -1, &buffered{f: os.Stdout}
	p := parser(&c, kong.Writers(help, os.Stderr), kong.Exit(func(n int) { code = n }))
	if len(args) == 0 {
		args = []string{"ls"}
	}
	k, err := p.Parse(args)
	e := newEnv(&c)
	if code >= 0 { // --help, --version
		if err := help.flush(); err != nil {
			return e.report(err)
		}
		return code
	}
	if err != nil {
		fmt.Fprintf(e.err, "shmem: %v\n", clean(err.Error()))
		fmt.Fprintln(e.err, usageHint(err))
		return exitUsage
	}
	e.verb, _, _ = strings.Cut(k.Command(), " ")
	if e.dir == sys.DefaultDir {
		// Where it is the user's own the first program makes it. The command finds out if it is not
		// there then.
		_ = sys.MakeDefaultDir()
	}
	if e.verb != "serve" { // what a look leaves behind is little, and the command ends soon
		debug.SetGCPercent(garbagePercent)
	}
	err = k.Run(e, p)
	// What could not be written is an error, whatever the command did.
	if failed := e.stdout.flush(); failed != nil && !errors.Is(err, failed) {
		err = errors.Join(err, fileError(failed))
	}
	return e.report(err)
}

// usageHint says which --help lists what the command line err is of can have.
func usageHint(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) {
		if cmd := wrong.Context.Selected(); cmd != nil {
			return cmd.FullPath() + " --help has its flags, and examples"
		}
	}
	return "shmem --help lists the commands and flags"
}

// parser returns the parser of the command line, whose model completion and the man page use too.
func parser(c *cli, options ...kong.Option) *kong.Kong {
	p, err := kong.New(c, append(options, kong.Name("shmem"),
		kong.Description(intro+"\n\n"+exitCodes),
		kong.Vars{"version": version(), "dir": sys.DefaultDir},
		kong.Help(helpWithExamples),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))...)
	if err != nil {
		panic(err) // the tags above are wrong
	}
	return p
}
