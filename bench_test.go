//go:build linux

package shmem_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// bare does by hand what Open and Close do, without their guarantees: the floor of their cost.
func bare(b *testing.B, path string, create bool) {
	flags := syscall.O_RDWR | syscall.O_CLOEXEC
	if create {
		flags |= syscall.O_CREAT | syscall.O_EXCL
	}
	fd, err := syscall.Open(path, flags, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	if create {
		if err := syscall.Ftruncate(fd, 4096); err != nil {
			b.Fatal(err)
		}
	}
	m, err := syscall.Mmap(fd, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		b.Fatal(err)
	}
	m[0]++
	syscall.Munmap(m)
	syscall.Close(fd)
	if create {
		syscall.Unlink(path)
	}
}

func use(b *testing.B, box *shmem.Box[page], err error) {
	if err != nil {
		b.Fatal(err)
	}
	box.Value().N++
	if err := box.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpenAtOnce opens and closes one name from many goroutines at once: 250 with a page, and
// 16 with 64 MiB whose pages are populated. It reports the longest of all calls.
func BenchmarkOpenAtOnce(b *testing.B) {
	for _, c := range []struct{ goroutines, size int }{{250, 4096}, {16, 64 << 20}} {
		b.Run(fmt.Sprintf("%dx%dKiB", c.goroutines, c.size>>10), func(b *testing.B) {
			o := &shmem.Options{Dir: shmemtest.Dir(b), Slots: 1024}
			first, err := shmem.OpenSegment("once", c.size, o)
			if err != nil {
				b.Fatal(err)
			}
			defer first.Close()
			var longest atomic.Int64
			for b.Loop() {
				openAtOnce(b, c.goroutines, &longest, func() error {
					s, err := shmem.OpenSegment("once", c.size, o)
					if err != nil {
						return err
					}
					return s.Close()
				})
			}
			b.ReportMetric(float64(longest.Load())/1e3, "worst-us")
		})
	}
}

// openAtOnce calls f in n goroutines at once, and notes the longest call.
func openAtOnce(b *testing.B, n int, longest *atomic.Int64, f func() error) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-start
			began := time.Now()
			if err := f(); err != nil {
				b.Error(err)
			}
			took := int64(time.Since(began))
			for l := longest.Load(); l < took && !longest.CompareAndSwap(l, took); l = longest.Load() {
			}
		})
	}
	close(start)
	wg.Wait()
}

// BenchmarkOpen compares opening and closing a box with the bare system calls; interleaved, so that
// the ratio holds when the machine drifts.
func BenchmarkOpen(b *testing.B) {
	dir := shmemtest.Dir(b)
	opts := &shmem.Options{Dir: dir}
	for _, create := range []bool{false, true} {
		name := map[bool]string{false: "existing", true: "new"}[create]
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(dir, "bare")
			if !create {
				held, err := shmem.Open[page]("box", opts)
				if err != nil {
					b.Fatal(err)
				}
				defer held.Close()
				if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
					b.Fatal(err)
				}
				defer os.Remove(path)
			}
			b.Run("bare", func(b *testing.B) {
				for b.Loop() {
					bare(b, path, create)
				}
			})
			b.Run("box", func(b *testing.B) {
				for b.Loop() {
					box, err := shmem.Open[page]("box", opts)
					use(b, box, err)
				}
			})
		})
	}
}

// BenchmarkAttachAmong shows that attaching costs the same however many segments there are.
func BenchmarkAttachAmong(b *testing.B) {
	for _, n := range []int{1, 100, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			opts := &shmem.Options{Dir: shmemtest.Dir(b)}
			for i := range n {
				box, err := shmem.Open[page](fmt.Sprint("box", i), opts)
				if err != nil {
					b.Fatal(err)
				}
				defer box.Close()
			}
			for b.Loop() {
				box, err := shmem.Attach[page]("box0", opts)
				use(b, box, err)
			}
		})
	}
}

func BenchmarkValue(b *testing.B) {
	box, err := shmem.Open[page]("box", &shmem.Options{Dir: shmemtest.Dir(b)})
	if err != nil {
		b.Fatal(err)
	}
	defer box.Close()
	heap := &struct{ p *page }{new(page)}
	b.Run("heap", func(b *testing.B) {
		for b.Loop() {
			heap.p.N++
		}
	})
	b.Run("box", func(b *testing.B) {
		for b.Loop() {
			box.Value().N++
		}
	})
	b.Run("do", func(b *testing.B) {
		for b.Loop() {
			if err := box.Do(func(p *page) error { p.N++; return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	runtime.KeepAlive(heap)
}

func TestNoAllocations(t *testing.T) {
	box, err := shmem.Open[page]("box", &shmem.Options{Dir: shmemtest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	inc := func(p *page) error { p.N++; return nil }
	for name, f := range map[string]func(){
		"Value":  func() { box.Value().N++ },
		"Do":     func() { box.Do(inc) },
		"View":   func() { box.View(context.Background(), inc) },
		"Update": func() { box.Update(context.Background(), inc) },
		"Load":   func() { loaded, _ = box.Load(context.Background()) },
		"Store":  func() { box.Store(context.Background(), loaded) },

		"LoadTo":    func() { box.LoadTo(context.Background(), &loaded) },
		"StoreFrom": func() { box.StoreFrom(context.Background(), &loaded) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// BenchmarkAccess compares the ways to the value with a plain copy of it.
func BenchmarkAccess(b *testing.B) {
	benchAccess[[8]uint64](b)
	benchAccess[page](b)
}

func benchAccess[T any](b *testing.B) {
	box, err := shmem.Open[T]("box", &shmem.Options{Dir: shmemtest.Dir(b)})
	if err != nil {
		b.Fatal(err)
	}
	defer box.Close()
	src, dst := new(T), new(T)
	none := func(*T) error { return nil }
	size := fmt.Sprint(box.Segment().Size())
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"copy", func() { *dst = *src }},
		{"load", func() { *dst, _ = box.Load(context.Background()) }},
		{"loadto", func() { box.LoadTo(context.Background(), dst) }},
		{"store", func() { box.Store(context.Background(), *src) }},
		{"update", func() { box.Update(context.Background(), none) }},
		{"view", func() { box.View(context.Background(), none) }},
	} {
		b.Run(size+"/"+c.name, func(b *testing.B) {
			for b.Loop() {
				c.f()
			}
		})
	}
}

// BenchmarkRandomReads reads a word anywhere in a large segment, whose place the word before tells.
// The metric huge-MiB says how much of the segment lies in huge pages.
func BenchmarkRandomReads(b *testing.B) {
	for _, huge := range []bool{false, true} {
		b.Run(map[bool]string{false: "small", true: "huge"}[huge], func(b *testing.B) {
			const words = 512 << 20 / 8
			s, err := shmem.CreateSegment("large", words*8, &shmem.Options{
				Dir: shmemtest.Dir(b), Undo: shmem.UndoNever, HugePages: huge, Populate: words * 8,
			})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			all, err := shmem.SliceAt[uint64](s, 0, words)
			if err != nil {
				b.Fatal(err)
			}
			for i := range all {
				x := uint64(i) * 0x9e3779b97f4a7c15
				all[i] = (x ^ x>>29) % words
			}
			bytes, err := s.HugePages()
			if err != nil {
				b.Fatal(err)
			}
			at := uint64(1)
			for b.Loop() {
				at = (all[at] + at*0x9e3779b97f4a7c15 + 1) % words
			}
			b.ReportMetric(float64(bytes>>20), "huge-MiB")
		})
	}
}

func BenchmarkList(b *testing.B) {
	opts := &shmem.Options{Dir: shmemtest.Dir(b), Slots: 1, Undo: shmem.UndoNever}
	for i := range 1000 {
		box, err := shmem.Open[uint64](fmt.Sprint("box", i), opts)
		if err != nil {
			b.Fatal(err)
		}
		defer box.Close()
	}
	for b.Loop() {
		n := 0
		for _, err := range shmem.List(opts.Dir) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 1000 {
			b.Fatalf("%d of 1000 listed", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/segment")
}
