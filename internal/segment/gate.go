package segment

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/sys"
)

// The gate is the lock under which a segment changes hands. The kernel frees it with leave, when
// the file is closed, and when the process dies.

// enter takes the gate, or returns errs.Busy at the deadline. It polls: a wait in the kernel would
// last as long as a stopped process holds the gate.
func enter(file sys.FD, shared bool, deadline time.Time) error {
	pause := 20 * time.Microsecond
	for {
		err := file.Lock(sys.GateByte, shared)
		if err != sys.ErrHeld {
			return err
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("%w; it may be stopped (SIGSTOP, a debugger): "+
				"find it with `grep OFDLCK /proc/locks`, or wait longer with Options.Timeout", errs.Busy)
		}
		time.Sleep(pause/2 + rand.N(pause))
		pause = min(2*pause, 5*time.Millisecond)
	}
}

func leave(file sys.FD) { _ = file.Unlock(sys.GateByte, 1) }
