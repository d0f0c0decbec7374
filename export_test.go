package shmem

// Abandon ends an attachment as the kernel does when a process dies: without cleanup.
func Abandon(s *Segment) { s.a.Abandon() }
