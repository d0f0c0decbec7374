//go:build linux && (amd64 || arm64)

package replay

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

var (
	wide = flag.Duration("wide", 0, "run each scenario for so long, with new seeds")
	dir  string // of what is built; removed after all tests
)

// program builds the scenarios once. A test builds them, not TestMain: the go command reads which
// files a test opens, and runs it again when one has changed.
var program = sync.OnceValues(func() (*Program, error) { return Build("../..", dir, nil) })

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if dir, err = os.MkdirTemp("", "replay"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// run runs the scenarios with flags. The test fails for each run that failed.
func run(t *testing.T, flags ...string) {
	t.Helper()
	prog, err := program()
	if err != nil {
		t.Fatal(err)
	}
	results, err := prog.Run(flags...)
	report(t, results, err)
}

// report fails the test for each run that failed.
func report(t *testing.T, results []*Result, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if len(results) == 0 {
		t.Fatal("no scenario ran")
	}
	for _, r := range results {
		if r.Bad() {
			t.Error(r)
		} else {
			t.Log(r)
		}
	}
}

// Again repeats a schedule that once failed.
func Again(t *testing.T, scenario, schedule string) {
	t.Helper()
	run(t, "-run", "^"+scenario+"$", "-schedule", schedule)
}

// The same seeds in every run of the tests.
func TestFixedSeeds(t *testing.T) {
	run(t, "-runs", "150", "-time", "1m", "-twice")
}

// Runs that failed once. What they show now depends on the sources: the scenarios keep the promise.
func TestAgain(t *testing.T) {
	Again(t, "mutex-kill", "1.3:k1 2.10:f1,t1")
	Again(t, "close-mutex", "1.9:r2")
	Again(t, "close-rwmutex-drain", "0.121:r1")
	Again(t, "box-marked", "-1.0:r2 2.8:r0 0.15:r2 2.26:r1 1.2:r0 0.42:r2 1.3:k1")
	Again(t, "rwmutex-kill", "-1.0:r2 2.4:r1 1.25:r3 2.35:r0 0.43:r1 1.46:r0 0.63:r1 1.95:r0 0.67:r2 2.37:r1 1.106:r2")
	// A process is stopped in Take until its lease is lost and another one is done.
	Again(t, "queue-lost-lease", "1.14:=1 1.16:r3 3.12:s2 4.2:.0 0.163:.0 2.125:.0 1.32:r0")
	// Its waker was killed between a baton and the ring for it.
	Again(t, "semaphore-many", "-1.0:r1 1.23:r3 3.43:r2 2.15:r0 1.40:r3 3.69:r1 1.57:r3 3.10"+
		"0:r0 0.76:r2 2.24:r3 3.119:r1 1.63:r6 6.2:r5 5.2:r3 3.139:r2 2.49:r0 0.89:r2 2.79:r0 0.96:r3 3.175:r2 2.96:r0 0.105:k2")
}

// Other seeds each time.
func TestNewSeeds(t *testing.T) {
	each := 50 * time.Millisecond
	if *wide > 0 {
		each = *wide
	}
	run(t, "-time", each.String(), "-seed", strconv.FormatInt(time.Now().UnixNano()>>20, 10))
}
