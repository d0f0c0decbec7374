package world

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// A Trace is what a run did, line by line.
type Trace struct {
	Lines []string
}

// Tracing reports whether the run is traced: notes cost time.
func Tracing() bool { return w != nil && w.trace != nil }

// Note says in the trace what the running thread did, and at which line of the source.
func Note(format string, args ...any) {
	if w == nil || w.trace == nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if w.cur == nil || strings.HasPrefix(text, "== ") {
		w.trace.Lines = append(w.trace.Lines, fmt.Sprintf("%5d  %s", w.steps, text))
		return
	}
	if w.cur.dead {
		return
	}
	w.trace.Lines = append(w.trace.Lines,
		fmt.Sprintf("%5d  %-10s %-52s %s", w.steps, w.cur.Name, text, caller()))
}

// Named is a named step of the library's protocols, from step.Reach.
func Named(name string) {
	if Tracing() && w.cur != nil {
		Note("-- %s", name)
	}
}

// Threaded reports whether a thread runs, not set-up code.
func Threaded() bool { return w.cur != nil }

// Did mixes an access and what it saw into the digest of the run.
func Did(off, value uint64) { w.mix(off<<32 ^ value) }

// caller is the line of the library or of the scenario that reached the point.
func caller() string {
	var pcs [24]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.Contains(f.Function, "/tests/replay/world.") &&
			!strings.Contains(f.Function, "/tests/replay/kernel.") &&
			!strings.Contains(f.Function, "/tests/replay/shim/") &&
			!strings.Contains(f.Function, "/internal/sys.") {
			return fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(f.File)),
				filepath.Base(f.File), f.Line)
		}
		if !more {
			return ""
		}
	}
}
