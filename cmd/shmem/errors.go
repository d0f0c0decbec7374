package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/psync"
)

// Exit codes. Scripts depend on them.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitAbsent  = 3
	exitRefused = 4
	exitBusy    = 5
)

// A usageError is an error of the command line.
type usageError struct{ error }

// An exitError carries an exit code. The error that led to it has been reported.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// errRefused is returned when the segment is not one that the command can be used on.
var errRefused = errors.New("refused")

// refusals are the errors that exit with exitRefused.
var refusals = []error{
	shmem.ErrMismatch, shmem.ErrForeign, shmem.ErrCorrupt, shmem.ErrVersion, shmem.ErrNotRegular,
	shmem.ErrOtherUser, shmem.ErrUnsealed, shmem.ErrReadOnly, shmem.ErrNoSlot, fs.ErrPermission,
	psync.ErrOwnerDied, errRefused, inspect.ErrTooLarge, shmem.ErrCopied,
}

// report prints an error with a hint, and returns the exit code.
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
	for _, one := range separate(err) {
		text := clean(one.Error())
		if !strings.HasPrefix(text, "shmem: ") {
			text = "shmem: " + text
		}
		fmt.Fprintln(e.err, text)
	}
	if hint := e.hint(err); hint != "" {
		fmt.Fprintln(e.err, "  "+clean(hint))
	}
	return exitCode(err)
}

// separate returns the errors that errors.Join has joined, each of which has a line of its own.
func separate(err error) (all []error) {
	parts, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var texts []string
	for _, e := range parts.Unwrap() {
		all = append(all, separate(e)...)
		texts = append(texts, e.Error())
	}
	if strings.Join(texts, "\n") != err.Error() { // made by fmt.Errorf
		return []error{err}
	}
	return all
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case errors.As(err, &usage), errors.Is(err, shmem.ErrBadName):
		return exitUsage
	case isAny(err, fs.ErrNotExist, shmem.ErrUnlinked):
		return exitAbsent
	case isAny(err, shmem.ErrBusy, shmem.ErrContended, context.DeadlineExceeded):
		return exitBusy
	case isAny(err, refusals...):
		return exitRefused
	}
	return exitFailed
}

// isAny reports whether err is one of targets.
func isAny(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// isOS reports whether err comes from the operating system.
func isOS(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) || isAny(err, fs.ErrNotExist, fs.ErrPermission)
}

// fileError hides that the cause of err may be fs.ErrNotExist. Exit codes and hints of that are for
// segments, not for other files.
func fileError(err error) error { return errors.New(err.Error()) }

// hint says what to do about an error, or "".
func (e *env) hint(err error) string {
	_, noDir := os.Stat(e.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && errors.Is(noDir, fs.ErrNotExist):
		return "there is no directory " + e.dir + "; --dir or $SHMEM_DIR says where segments are"
	case errors.Is(err, fs.ErrNotExist):
		if n := e.near(err); n != "" {
			return "did you mean " + n + "? `shmem ls` lists what there is"
		}
		return "`shmem ls` lists what there is in " + e.dir
	case errors.Is(err, context.DeadlineExceeded):
		return "another process holds the lock: `shmem stat` shows which; --timeout waits longer"
	case errors.Is(err, inspect.ErrTooLarge):
		return "`shmem cat NAME PATH` shows a part of a value, `shmem cat --hex NAME` its bytes"
	case e.verb == "cat" && isAny(err, shmem.ErrCorrupt, shmem.ErrCopied, shmem.ErrVersion):
		return "`shmem cat --hex` shows its bytes"
	case errors.Is(err, shmem.ErrFault):
		return "another process truncated the file; `shmem rm` removes it"
	}
	return ""
}

// near returns the name of a segment that is like the one that was not found, or "".
func (e *env) near(err error) string {
	var se *shmem.Error
	if !errors.As(err, &se) || se.Name == "" {
		return ""
	}
	files, _ := os.ReadDir(e.dir)
	best, least := "", 3
	for _, f := range files {
		// 0: it was created meanwhile
		if n := distance(se.Name, f.Name(), least); n < least && n > 0 && isName(f.Name()) {
			best, least = f.Name(), n
		}
	}
	return best
}

// isName reports whether a name can be typed as it is: that of a segment, and no flag. All others
// are shown, but never offered.
func isName(name string) bool {
	for _, c := range []byte(name) {
		if c != '.' && c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') &&
			(c < 'a' || c > 'z') {
			return false
		}
	}
	return name != "" && name[0] != '-' && name[0] != '.'
}

// distance returns how many letters must be changed, added or removed to get from a to b
// (Levenshtein, by the algorithm of Wagner and Fischer with one row). It returns limit for long
// names, and where the lengths alone differ by so much.
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
