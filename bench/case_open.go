package main

import (
	"net"
	"os"

	"github.com/shmembox/shmem"
	"golang.org/x/sys/unix"
)

// bareOpen is the system calls that any mapping needs.
func bareOpen(path string, create bool) error {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE | os.O_EXCL
	}
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if create {
		if err := unix.Ftruncate(fd, 4096); err != nil {
			return err
		}
	}
	m, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	m[0]++
	unix.Munmap(m)
	if create {
		unix.Unlink(path)
	}
	return unix.Close(fd)
}

func openCases() (cases []Case) {
	for _, create := range []bool{false, true} {
		name, how := "open-existing", "old"
		about := "attach to 4 KiB that another one has, touch them, detach"
		if create {
			name, how, about = "open-new", "new", "create 4 KiB, touch them, and remove them"
		}
		ours := Contender{Name: "Box, Open and Close", Kind: Ours, Run: func(t *Trial) error {
			opts := &shmem.Options{Dir: t.Dir}
			if !create {
				if _, err := shmem.Open[page]("page", opts); err != nil {
					return err
				}
			}
			return t.Each(func() error {
				box, err := shmem.Open[page]("page", opts)
				if err != nil {
					return err
				}
				box.Value()[0]++
				return box.Close()
			})
		}}
		bare := Contender{Name: "open and mmap by hand", Kind: Limit, Run: func(t *Trial) error {
			if !create {
				if err := os.WriteFile(t.Path("page"), make([]byte, 4096), 0o600); err != nil {
					return err
				}
			}
			return t.Each(func() error { return bareOpen(t.Path("page"), create) })
		}}
		c := Case{Item: "h", Name: name, About: about, Unit: "open and close",
			Who: []Contender{ours,
				external("shm_open and mmap (C)", Peer, "c", "open", how),
				external("Boost shared_memory_object (C++)", Peer, "boost", "open", how),
				external("Python SharedMemory", Peer, "python", "open", how), mmapGo(create), goIPC,
				hidezShm, bare}}
		if !create {
			c.Who = append(c.Who,
				Contender{Name: "Unix socket, connect", Kind: Peer, Run: connectAndClose})
		}
		cases = append(cases, c)
	}
	return cases
}

var accepter = role("accepter", func(t *Trial) error {
	l, err := net.Listen("unix", t.Path("socket"))
	for err == nil {
		var c net.Conn
		if c, err = l.Accept(); err == nil {
			c.Write([]byte{1})
			c.Close()
		}
	}
	return err
})

func connectAndClose(t *Trial) error {
	if _, err := t.Start(accepter); err != nil {
		return err
	}
	path := t.Await("socket")
	return t.Each(func() error {
		c, err := dial("unix", path)
		if err != nil {
			return err
		}
		if err := c.Recv(make([]byte, 1)); err != nil {
			return err
		}
		return c.(stream).ReadWriter.(net.Conn).Close()
	})
}
