package shmem

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/shmembox/shmem/internal/sys"
)

// enter takes the gate of a segment: the lock under which it changes hands. It never waits in the
// kernel, or one stopped process would hang everybody: it tries, until the deadline.
//
// The gate is free again with leave, with Close of the file, and with the process.
func enter(file sys.FD, shared bool, deadline time.Time) error {
	pause := 20 * time.Microsecond
	for {
		err := file.Lock(sys.GateByte, shared)
		if err != sys.ErrHeld {
			return err
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("%w; it may be stopped (SIGSTOP, a debugger): find it with `grep OFDLCK /proc/locks` or wait longer with Options.Timeout", ErrBusy)
		}
		time.Sleep(pause/2 + rand.N(pause))
		pause = min(2*pause, 5*time.Millisecond)
	}
}

func leave(file sys.FD) { _ = file.Unlock(sys.GateByte, 1) }
