package main

import (
	"os"

	"github.com/edsrzf/mmap-go"
	"github.com/gofrs/flock"
)

// flockLock is the package most Go programs lock files with. Its Unlock closes the file, and its
// next Lock opens it anew.
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

// unserved are the modules that would take part if they could be had; asked for in November 2026.
var unserved = map[string]string{
	"github.com/cloudwego/shmipc-go": refused,
	"bitbucket.org/avd/go-ipc":       refused,
	"go.nanomsg.org/mangos/v3":       refused,
	"github.com/tmthrgd/shm-go":      refused,
	"github.com/hidez8891/shm":       refused + "; it needs cgo as well",
	"github.com/lirm/aeron-go":       refused + "; it needs a media driver as well",
}

const refused = "the module proxy does not serve its latest version"

// absent is the row of a module that is in unserved.
func absent(name, module string) Contender {
	return Contender{Name: name, Kind: Peer, Needs: module}
}

var (
	shmipc   = absent("shmipc-go", "github.com/cloudwego/shmipc-go")
	goIPC    = absent("avd/go-ipc", "bitbucket.org/avd/go-ipc")
	mangos   = absent("mangos over ipc://", "go.nanomsg.org/mangos/v3")
	shmGo    = absent("tmthrgd/shm-go", "github.com/tmthrgd/shm-go")
	hidezShm = absent("hidez8891/shm", "github.com/hidez8891/shm")
	aeron    = absent("aeron-go", "github.com/lirm/aeron-go")
)
