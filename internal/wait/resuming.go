package wait

import "github.com/shmembox/shmem/internal/mem"

// Resuming reports whether waiters of this process at m were chosen and have not gone on yet: their
// calls of Until will return soon, or wait again. A caller that owes a ring can leave it to the
// last of them, which asks after its Until.
func Resuming(m *mem.Mapping) bool {
	l := m.Waiters.Load()
	return l != nil && (*l).(*parkingLot).resuming.Load() > 0
}
