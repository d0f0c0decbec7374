//go:build unix

package main

import (
	"os"
	"syscall"

	"github.com/shmembox/shmem"
)

// fewFiles lowers its limit, and opens nearly as many files.
func fewFiles(name string, o *shmem.Options) {
	_, err := shmem.Open[Config](name, o)
	check(err)
	const most = 64
	var limit syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	limit.Cur = most
	check(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	for {
		f, err := os.Open(os.DevNull)
		check(err)
		if f.Fd() >= most-4 {
			break
		}
	}
	up(name)
	stay()
}
