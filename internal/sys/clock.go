package sys

import (
	"hash/fnv"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A clock is one that all processes of the machine read alike.
type clock struct {
	at     time.Time     // a moment of this process's clock, with a monotonic reading
	uptime time.Duration // of the machine at that moment
	boot   uint64        // says which start of the machine it counts from; 0: unknown
}

// machineClock is read once: from then on the process's own clock goes on as the machine's does,
// and reading it needs no system call.
var machineClock = sync.OnceValue(newClock)

// Uptime returns how long the machine had been running at t. It does not jump when the machine's
// date is set. It is the same in every process, also in time namespaces with other offsets.
func Uptime(t time.Time) time.Duration {
	c := machineClock()
	return c.uptime + t.Sub(c.at)
}

// Boot returns a number of the machine's start from which Uptime counts. It is 0 where the machine
// does not tell.
func Boot() uint64 { return machineClock().boot }

// bootNumber makes a number that is not 0 of a text.
func bootNumber(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.TrimSpace(text)))
	return h.Sum64() | 1
}

// monotonicOffset returns by how much a time namespace has moved the monotonic clock, from the
// lines of /proc/self/timens_offsets: name, seconds, nanoseconds.
func monotonicOffset(lines string) time.Duration {
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != "monotonic" {
			continue
		}
		s, err := strconv.ParseInt(f[1], 10, 64)
		ns, err2 := strconv.ParseInt(f[2], 10, 64)
		if err == nil && err2 == nil {
			return time.Duration(s)*time.Second + time.Duration(ns)
		}
	}
	return 0
}
