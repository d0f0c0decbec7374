//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/shmembox/shmem"
	"golang.org/x/sys/unix"
)

// reading is the user of the processes that may only read: no file of this one is theirs.
const reading = 65534

// openers are what a process does that opens for reading again and again.
var openers = map[string]func(*page){
	"opens the box": func(*page) {
		b, err := shmem.Attach[page]("beside", &shmem.Options{
			Dir: *dir, ReadOnly: true, AnyUser: true,
		})
		must(err)
		must(b.Close())
	},
	"opens the file": func(*page) {
		fd, err := unix.Open(filepath.Join(*dir, "beside-bare"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		must(err)
		m, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ, unix.MAP_SHARED)
		must(err)
		must(unix.Munmap(m))
		must(unix.Close(fd))
	},
}

// besideOpeners measures opening and closing beside processes that may only read the file, and open
// it again and again.
func besideOpeners() {
	n := max(1, runtime.NumCPU()-1)
	who, uid := "that may only read", uint32(reading)
	if os.Geteuid() != 0 {
		who, uid = "of the same user", 0 // which can write, and take the gate as well
	}
	held, err := shmem.Open[page]("beside", &shmem.Options{Dir: *dir, Mode: 0o644})
	must(err)
	bare := filepath.Join(*dir, "beside-bare")
	must(os.WriteFile(bare, make([]byte, pageSize), 0o644))
	title := fmt.Sprintf("openings beside %d %s", n, who)
	fmt.Printf("\n%-42s %12s %12s %12s %12s\n", title, "alone, k/s", "beside, k/s", "ratio",
		"they, k/s")
	box := openBox("beside")
	for _, c := range []struct {
		name, reader string
		open         func(*page)
	}{
		{"bare system calls", "opens the file", func(*page) { bareExisting(bare) }},
		{"box", "opens the box", func(*page) { box() }},
	} {
		var alone, with, reads []float64
		for range *rounds {
			alone = append(alone, 1e3*rate(c.open))
			ends := make([]func() float64, n)
			for i := range ends {
				ends[i] = startProcess(c.reader, uid)
			}
			with = append(with, 1e3*rate(c.open))
			sum := 0.0
			for _, end := range ends {
				sum += 1e3 * end()
			}
			reads = append(reads, sum)
		}
		fmt.Printf("  %-40s %12.1f %12.1f %12.2f %12.1f\n", c.name, median(alone), median(with),
			ratio(with, alone), median(reads))
	}
	must(held.Close())
}
