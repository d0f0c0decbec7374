package wait_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/wait"
)

// TestSpin: Spin reports whether the condition holds, and waits for no longer than MaxSpin or a
// little more. YieldLines returns too. With a limit of 0 none spins.
func TestSpin(t *testing.T) {
	_, s, v := newSeg(t) // so no ledger has an entry yet
	o := &v.o[0]
	wait.SetSpinLimit(100)
	defer wait.SetSpinLimit(-1)
	before := wait.ReadSpinStats() // goroutines of other tests may spin too
	if !wait.Spin(s.M, &o.armed, func() bool { return true }) {
		t.Error("Spin does not report that the condition holds")
	}
	calls := 0
	if !wait.Spin(s.M, &o.armed, func() bool { calls++; return calls > 1 }) {
		t.Error("Spin misses that the condition begins to hold")
	}
	if wait.Spin(s.M, &v.o[1].armed, func() bool { return false }) {
		t.Error("Spin reports a condition that does not hold")
	}
	if o.armed.Load() != 0 {
		t.Error("Spin arms the object")
	}
	after := wait.ReadSpinStats()
	if after.Limit != 100 || after.Vain <= before.Vain || after.Paid <= before.Paid ||
		after.Time-before.Time < wait.MaxSpin {
		t.Errorf("from %+v to %+v", before, after)
	}
	wait.SetSpinLimit(0)
	calls = 0
	if wait.Spin(s.M, &v.o[2].armed, func() bool { calls++; return false }) || calls != 1 {
		t.Errorf("without spinning the condition is checked %d times", calls)
	}
	if n := wait.ReadSpinStats(); n.Limit != 0 || n.Skipped <= after.Skipped {
		t.Errorf("with a limit of 0: %+v after %+v", n, after)
	}
	for _, n := range []uint64{0, 15, 16, 1 << 40} {
		wait.YieldLines(n, 1024)
	}
}

// TestSpinLimit: the default goes by GOMAXPROCS, not by the CPUs of the machine.
func TestSpinLimit(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for procs, most := range map[int]int{1: 0, 2: 1, 3: 1, 8: 4} {
		runtime.GOMAXPROCS(procs)
		// A quota of this machine may allow less.
		if n := wait.SpinLimit(); n > most || procs == 1 && n != 0 {
			t.Errorf("with GOMAXPROCS %d: %d goroutines spin, want at most %d", procs, n, most)
		}
	}
}

// TestLedger: spins that never pay cost less than a sixth of what parking costs, at first and in the
// long run. Those that pay go on, and those that pay again after a while are resumed.
func TestLedger(t *testing.T) {
	var l wait.Ledger
	vain := func(waits int) (spins int) {
		for range waits {
			if l.Allows() {
				l.Record(wait.MaxSpin, false)
				spins++
			}
		}
		return spins
	}
	if n := vain(100_000); n < 12 || n > 200 {
		t.Errorf("100000 waits have %d spins in vain", n)
	}
	const most = 4096 + 16 // waits until the next trial
	resumed := 0
	for resumed < most && !l.Allows() {
		resumed++
	}
	if resumed == most {
		t.Fatal("no trial comes")
	}
	for i := range 1000 {
		if i > 0 && !l.Allows() {
			t.Fatalf("spin %d pays, and the next wait does not spin", i)
		}
		l.Record(time.Microsecond, true)
	}
	if n := vain(1000); n < 8 || n > 80 {
		t.Errorf("after spins that paid, 1000 waits have %d spins in vain", n)
	}
	// One that was preempted does not pay, although the condition holds in the end.
	l = wait.Ledger{}
	for range 8 {
		l.Record(4*time.Millisecond, true)
	}
	if l.Allows() {
		t.Error("spins that take longer than parking go on")
	}
}
