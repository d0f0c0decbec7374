package sys

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUptime: it is the kernel's monotonic clock, which the test reads before and after.
func TestUptime(t *testing.T) {
	b, _ := os.ReadFile("/proc/self/timens_offsets")
	offset := monotonicOffset(string(b))
	read := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return time.Duration(ts.Nano()) - offset
	}
	// The clocks are compared once, which may take a little; 10 ms is much more.
	const slack = 10 * time.Millisecond
	for range 100 {
		before := read()
		is := Uptime(time.Now())
		if after := read(); is < before-slack || is > after+slack {
			t.Fatalf("%v, want %v to %v", is, before, after)
		}
	}
	if HasProc() && Boot() == 0 {
		t.Error("the machine has no boot id")
	}
}

func TestMonotonicOffset(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"monotonic           0         0\nboottime            0         0\n": 0,
		"monotonic       -3600        -5\nboottime      7 1\n":               -time.Hour - 5,
		"boottime 7 1\nmonotonic 2 1\n":                                      2*time.Second + 1,
		"monotonic x 0\n":                                                    0, "monotonic 1\n": 0, "": 0,
	} {
		if d := monotonicOffset(text); d != want {
			t.Errorf("%q: %v, want %v", text, d, want)
		}
	}
	if a, b := bootNumber("a\n"), bootNumber("b"); a == b || a == 0 || a != bootNumber("a") {
		t.Error(a, b)
	}
}
