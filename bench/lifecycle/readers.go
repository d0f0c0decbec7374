//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
	"golang.org/x/sys/unix"
)

// A keeper keeps a value of size T: one writes it all the time, others read it.
type keeper[T any] struct {
	name string
	here bool // the readers are goroutines of the writer's process
	open func(name string) (write, read func(*T))
}

var ctx = context.Background()

// locked is a value under the lock that processes share.
type locked[T any] struct {
	mu psync.RWMutex
	_  [120]byte
	v  T
}

// sequenced is a value under a sequence counter, for one writer, by hand.
type sequenced[T any] struct {
	seq atomic.Uint64
	_   [120]byte
	v   T
}

func boxOf[T any](name string) *shmem.Box[T] {
	b, err := shmem.Open[T](name, &shmem.Options{Dir: *dir, Lifetime: shmem.Kept})
	must(err)
	return b
}

func mapped[T any](name string) *T {
	var v T
	fd, err := unix.Open(filepath.Join(*dir, name), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	must(err)
	n := int(unsafe.Sizeof(v))
	must(unix.Ftruncate(fd, int64(n)))
	m, err := unix.Mmap(fd, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	return (*T)(unsafe.Pointer(&m[0]))
}

func keepers[T any]() []keeper[T] {
	return []keeper[T]{
		{"Box: StoreFrom, LoadTo", false, func(name string) (write, read func(*T)) {
			b := boxOf[T](name)
			return func(p *T) { must(b.StoreFrom(ctx, p)) }, func(p *T) { must(b.LoadTo(ctx, p)) }
		}},
		{"Box: Update, View", false, func(name string) (write, read func(*T)) {
			b := boxOf[T](name)
			return func(p *T) { must(b.Update(ctx, func(v *T) error { *v = *p; return nil })) },
				func(p *T) { must(b.View(ctx, func(v *T) error { *p = *v; return nil })) }
		}},
		{"psync.RWMutex", false, func(name string) (write, read func(*T)) {
			v := boxOf[locked[T]](name).Value()
			return func(p *T) {
					must(v.mu.Lock(ctx))
					v.v = *p
					must(v.mu.Unlock())
				}, func(p *T) {
					must(v.mu.RLock(ctx))
					*p = v.v
					must(v.mu.RUnlock())
				}
		}},
		{"sync.RWMutex, in one process", true, func(string) (write, read func(*T)) {
			var mu sync.RWMutex
			v := new(T)
			return func(p *T) { mu.Lock(); *v = *p; mu.Unlock() },
				func(p *T) { mu.RLock(); *p = *v; mu.RUnlock() }
		}},
		{"sequence counter by hand", false, func(name string) (write, read func(*T)) {
			s := mapped[sequenced[T]](name)
			return func(p *T) { s.seq.Add(1); s.v = *p; s.seq.Add(1) }, func(p *T) {
				for {
					before := s.seq.Load()
					*p = s.v
					if before&1 == 0 && s.seq.Load() == before {
						return
					}
				}
			}
		}},
	}
}

const besideTime = 100 * time.Millisecond

// besideReaders measures a writer alone and beside a process that reads without a pause: as many
// processes as CPUs, so that no two share one.
func besideReaders() {
	n := max(1, runtime.NumCPU()-1)
	fmt.Printf("\n%-42s %12s %12s %12s %12s\n",
		fmt.Sprintf("a writer beside %d that read", n), "alone, M/s", "beside, M/s", "ratio",
		"read, M/s")
	beside[[8]uint64](n, "64 B")
	beside[[512]uint64](n, "4 KiB")
}

func beside[T any](n int, size string) {
	for i, k := range keepers[T]() {
		name := fmt.Sprintf("keeper-%d-%s", i, size[:1])
		write, readHere := k.open(name)
		var alone, with, reads []float64
		for range *rounds {
			alone = append(alone, rate(write))
			stop := startReaders(n, i, size, name, k.here, readHere)
			with = append(with, rate(write))
			reads = append(reads, stop())
		}
		fmt.Printf("  %-40s %12.2f %12.2f %12.2f %12.2f\n", size+", "+k.name, median(alone),
			median(with), ratio(with, alone), median(reads))
	}
}

// rate writes for a while, and returns how often, in millions a second.
func rate[T any](write func(*T)) float64 {
	var p T
	n, began := 0, time.Now()
	for time.Since(began) < besideTime {
		for range 100 {
			write(&p)
		}
		n += 100
	}
	return float64(n) / float64(time.Since(began)) * 1e3
}

// startReaders starts readers, and returns what ends them and returns how often they have read, all
// together, in millions a second.
func startReaders[T any](n, index int, size, name string, here bool, read func(*T)) func() float64 {
	if here {
		return startGoroutines(n, read)
	}
	ends := make([]func() float64, n)
	for i := range ends {
		ends[i] = startProcess(fmt.Sprintf("%d %s %s", index, size[:1], name), 0)
	}
	return func() (sum float64) {
		for _, end := range ends {
			sum += end()
		}
		return sum
	}
}

func startGoroutines[T any](n int, read func(*T)) func() float64 {
	var stop atomic.Bool
	var wg sync.WaitGroup
	var count atomic.Int64
	began := time.Now()
	for range n {
		wg.Go(func() {
			p, n := new(T), int64(0)
			for !stop.Load() {
				read(p)
				n++
			}
			count.Add(n)
		})
	}
	return func() float64 {
		stop.Store(true)
		took := time.Since(began)
		wg.Wait()
		return float64(count.Load()) / float64(took) * 1e3
	}
}

// startProcess starts a process that reads, of another user if uid is not 0.
func startProcess(what string, uid uint32) func() float64 {
	c := exec.Command("/proc/self/exe", "-reader", what, "-dir", *dir)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if uid != 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	in, err := c.StdinPipe()
	must(err)
	out, err := c.StdoutPipe()
	must(err)
	must(c.Start())
	lines := bufio.NewReader(out)
	_, err = lines.ReadString('\n') // it reads
	must(err)
	return func() (rate float64) {
		must(in.Close())
		_, err := fmt.Fscan(lines, &rate)
		must(err)
		must(c.Wait())
		return rate
	}
}

// read is a reader's process: it reads until its input ends.
func read(what string) {
	if read, ok := openers[what]; ok {
		readUntil(read)
		return
	}
	var index int
	var size, name string
	_, err := fmt.Sscan(what, &index, &size, &name)
	must(err)
	if size == "6" {
		readOf[[8]uint64](index, name)
		return
	}
	readOf[[512]uint64](index, name)
}

func readOf[T any](index int, name string) {
	_, read := keepers[T]()[index].open(name)
	readUntil(read)
}

// readUntil reads until the input ends, and prints how often, in millions a second.
func readUntil[T any](read func(*T)) {
	end := startGoroutines(1, read)
	fmt.Println("reads")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	fmt.Println(end())
}
