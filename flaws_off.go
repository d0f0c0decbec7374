//go:build !shmemflaws

package shmem

func (s *Segment) attachedByPID() (bool, error) { return false, nil }
