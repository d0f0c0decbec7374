package shmem

// Abandon ends an attachment as the kernel does when a process dies: without any duty.
func Abandon(s *Segment) {
	s.closed.Store(true)
	if s.hidden != nil {
		s.hidden()
	}
	s.m.Drain()
	s.m.Retire()
	_ = s.file.Close()
}
