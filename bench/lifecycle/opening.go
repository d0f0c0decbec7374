//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/shmembox/shmem"
	"golang.org/x/sys/unix"
)

type page struct {
	N uint64
	_ [pageSize - 8]byte
}

// A contender opens and closes once.
type contender struct {
	name      string
	run       func()
	wall, cpu []float64 // of each round, in microseconds
}

func openBox(name string) func() {
	o := &shmem.Options{Dir: *dir}
	return func() {
		b, err := shmem.Open[page](name, o)
		must(err)
		b.Value().N++
		must(b.Close())
	}
}

// opening measures opening and closing a box of a page, beside the calls that it makes.
func opening() {
	held, err := shmem.Open[page]("existing", &shmem.Options{Dir: *dir})
	must(err)
	defer held.Close()
	bare, raw := filepath.Join(*dir, "bare"), filepath.Join(*dir, "raw")
	must(os.WriteFile(bare, make([]byte, pageSize), 0o600))
	must(os.WriteFile(raw, make([]byte, fileSize), 0o600))
	owner, err := unix.Open(raw, unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(err)
	lock(owner, firstSlot)
	fresh := filepath.Join(*dir, "fresh")
	compare("open and close, existing box of 4 KiB", []*contender{
		{name: "bare system calls", run: func() { bareExisting(bare) }},
		{name: "the least of a protocol", run: func() { leastExisting(raw) }},
		{name: "the calls of the box, raw", run: func() { rawExisting(raw) }},
		{name: "box", run: openBox("existing")},
	})
	compare("open and close, new box of 4 KiB", []*contender{
		{name: "bare system calls", run: func() { bareNew(fresh) }},
		{name: "the least of a protocol", run: func() { leastNew(*dir, fresh) }},
		{name: "the calls of the box, raw", run: func() { rawNew(*dir, fresh) }},
		{name: "box", run: openBox("new")},
	})
	must(unix.Close(owner))
}

// compare runs contenders in turn. The first is what the others are compared with, and the last but
// one what the last is.
func compare(title string, all []*contender) {
	const n = 2000
	for range *rounds {
		for _, c := range all {
			for range n / 20 {
				c.run()
			}
			cpu, began := cpuTime(), time.Now()
			for range n {
				c.run()
			}
			c.wall = append(c.wall, float64(time.Since(began))/n/1e3)
			c.cpu = append(c.cpu, float64(cpuTime()-cpu)/n/1e3)
		}
	}
	fmt.Printf("\n%-42s %9s %9s %9s %9s %12s\n", title, "us", "CPU us", "least CPU", "x bare",
		"x bare, CPU")
	for _, c := range all {
		fmt.Printf("  %-40s %9.1f %9.1f %9.1f %9.2f %12.2f\n", c.name, median(c.wall),
			median(c.cpu), slices.Min(c.cpu), ratio(c.wall, all[0].wall), ratio(c.cpu, all[0].cpu))
	}
	box, raw := all[len(all)-1], all[len(all)-2]
	fmt.Printf("  %-40s %39.2f %12.2f\n", "box to its calls, raw", ratio(box.wall, raw.wall),
		ratio(box.cpu, raw.cpu))
}

// atOnce measures many openings of one name at a time.
func atOnce() {
	fmt.Printf("\n%-42s %12s %12s %12s\n", "at once, one name", "worst ms", "bare, ms", "ratio")
	for _, c := range []struct{ goroutines, size int }{{250, pageSize}, {16, 64 << 20}} {
		name := fmt.Sprintf("%dx%d", c.goroutines, c.size)
		o := &shmem.Options{Dir: *dir, Slots: 1024}
		first, err := shmem.OpenSegment(name, c.size, o)
		must(err)
		path := filepath.Join(*dir, name)
		var ours, bare []float64
		for range *rounds {
			ours = append(ours, worst(c.goroutines, func() {
				s, err := shmem.OpenSegment(name, c.size, o)
				must(err)
				must(s.Close())
			}))
			bare = append(bare, worst(c.goroutines, func() { barePopulated(path, c.size) }))
		}
		must(first.Close())
		fmt.Printf("  %-40s %12.2f %12.2f %12.2f\n",
			fmt.Sprintf("%d goroutines, %d KiB: worst call", c.goroutines, c.size>>10),
			median(ours), median(bare), ratio(ours, bare))
	}
}

// barePopulated maps a file and makes its pages present, if they are more than a few.
func barePopulated(path string, size int) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(err)
	m, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	if size > 4*pageSize {
		must(unix.Madvise(m, unix.MADV_POPULATE_WRITE))
	}
	must(unix.Munmap(m))
	must(unix.Close(fd))
}

// worst calls f in n goroutines at once, and returns the longest call in milliseconds.
func worst(n int, f func()) (longest float64) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	start := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-start
			began := time.Now()
			f()
			took := float64(time.Since(began)) / 1e6
			mu.Lock()
			longest = max(longest, took)
			mu.Unlock()
		})
	}
	close(start)
	wg.Wait()
	return longest
}
