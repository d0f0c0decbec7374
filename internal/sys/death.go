package sys

// A process that waits for another one is told of its end by the kernel, where the kernel does
// that. Elsewhere OpenProcess returns errors.ErrUnsupported, and the waiter looks at the lock bytes
// of the other one from time to time: see package wait.

// A watched is what a *Process does.
type watched interface {
	// Wait waits until the process has ended. It returns an error after Close.
	Wait() error

	// Close ends the watch.
	Close() error
}

// The functions of deaths.
var (
	_ watched = (*Process)(nil)

	// OpenProcess watches the process pid, of this PID namespace. Waiting costs no thread.
	_ func(pid int) (*Process, error) = OpenProcess
)
