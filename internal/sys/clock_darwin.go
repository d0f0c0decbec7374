package sys

import (
	"time"

	"golang.org/x/sys/unix"
)

// newClock reads the clock that Go's monotonic readings count by.
func newClock() clock {
	c := clock{at: time.Now()}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_UPTIME_RAW, &ts); err != nil {
		c.uptime = time.Duration(c.at.UnixNano())
		return c
	}
	c.uptime = time.Duration(ts.Nano())
	if id, err := unix.Sysctl("kern.bootsessionuuid"); err == nil {
		c.boot = bootNumber(id)
	}
	return c
}
