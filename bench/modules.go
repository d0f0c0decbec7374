package main

import (
	"os"

	"github.com/edsrzf/mmap-go"
	"github.com/gofrs/flock"
)

// flockLock is the package most Go programs lock files with. Its Unlock closes the file, and its next
// Lock opens it anew.
var flockLock = locker{"gofrs/flock, lock of a file", Peer, func(t *Trial) (func() error, error) {
	l := flock.New(t.Path("flock"))
	return func() error {
		if err := l.Lock(); err != nil {
			return err
		}
		return l.Unlock()
	}, nil
}}

// mmapGo opens as a user of mmap-go does: the file with os, the mapping with the package.
func mmapGo(create bool) Contender {
	return Contender{Name: "edsrzf/mmap-go", Kind: Peer, Run: func(t *Trial) error {
		flags := os.O_RDWR
		if create {
			flags |= os.O_CREATE | os.O_EXCL
		} else if err := os.WriteFile(t.Path("page"), make([]byte, 4096), 0o600); err != nil {
			return err
		}
		return t.Each(func() error {
			f, err := os.OpenFile(t.Path("page"), flags, 0o600)
			if err != nil {
				return err
			}
			if create {
				if err := f.Truncate(4096); err != nil {
					return err
				}
			}
			m, err := mmap.Map(f, mmap.RDWR, 0)
			if err != nil {
				return err
			}
			m[0]++
			if err := m.Unmap(); err != nil {
				return err
			}
			if create {
				os.Remove(f.Name())
			}
			return f.Close()
		})
	}}
}
