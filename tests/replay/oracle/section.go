// Package oracle has what several scenarios check.
package oracle

import "github.com/shmembox/shmem/tests/replay/world"

// A Section sees which process is in a critical section. It is no part of the lock that it checks:
// it sees all processes at once.
type Section struct {
	writer  *world.Process
	readers map[*world.Process]int
}

// Enter says that p is in, alone. It fails the run if another process is.
func (s *Section) Enter(p *world.Process) {
	s.free(p, s.writer)
	for r := range s.readers {
		if r.Alive() { // a dead reader holds nothing
			s.free(p, r)
		}
	}
	s.writer = p
}

// Leave says that p is out.
func (s *Section) Leave(p *world.Process) {
	if s.writer != p {
		world.Fail("%s has left a section that it was not in", p.Name)
	}
	s.writer = nil
}

// EnterShared and LeaveShared are for readers.
func (s *Section) EnterShared(p *world.Process) {
	s.free(p, s.writer)
	if s.readers == nil {
		s.readers = map[*world.Process]int{}
	}
	s.readers[p]++
}

// LeaveShared says that a reader of p is out.
func (s *Section) LeaveShared(p *world.Process) {
	if s.readers[p]--; s.readers[p] == 0 {
		delete(s.readers, p)
	}
}

// Recovered says that the section is free again, since the death of its writer is known.
func (s *Section) Recovered() { s.writer = nil }

func (s *Section) free(p, holder *world.Process) {
	switch {
	case holder == nil:
	case holder.Alive():
		world.Fail("%s is in the section, and so is %s", p.Name, holder.Name)
	default:
		world.Fail("%s has the lock of dead %s, and was not told", p.Name, holder.Name)
	}
}
