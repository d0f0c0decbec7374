package psync_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/shmembox/shmem/shmemtest"
)

// TestTakeoverFromNamespace is TestTakeover from a process in another PID namespace.
func TestTakeoverFromNamespace(t *testing.T) {
	if os.Getuid() != 0 || os.Getenv(shmemtest.WrapEnv) != "" {
		t.Skip("a PID namespace needs root, and no emulator")
	}
	child := shmemtest.Command{SysProcAttr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}}
	takeover(t, child, true)
}
