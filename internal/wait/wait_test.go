package wait_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/shmemtest"
)

// object is what the tests wait for.
type object struct {
	word, armed atomic.Uint32
	_           [56]byte
}

type values struct {
	o [1024]object
}

func TestMain(m *testing.M) {
	shmemtest.Main(m,
		shmemtest.Role{Name: "echo", Run: echo},
		shmemtest.Role{Name: "wake", Run: wakeOnce},
		shmemtest.Role{Name: "wait", Run: waitOnce},
	)
}

func attach(path string, how waittest.How) (*waittest.Seg, *values, error) {
	s, err := waittest.Attach(path, how)
	if err != nil {
		return nil, nil, err
	}
	v, err := mem.At[values](s.M, 0)
	return s, v, err
}

func newSeg(t testing.TB) (string, *waittest.Seg, *values) {
	path := filepath.Join(shmemtest.Dir(t), "seg")
	if err := waittest.Create(path, mem.SizeOf[values](), 16); err != nil {
		t.Fatal(err)
	}
	s, v, err := attach(path, waittest.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); os.Remove(path) })
	return path, s, v
}

func (o *object) isNot(v uint32) func() bool { return func() bool { return o.word.Load() != v } }

func until(ctx context.Context, s *waittest.Seg, o *object, old uint32) error {
	return wait.Until(ctx, s.M, &o.armed, o.isNot(old), wait.Options{})
}

func change(s *waittest.Seg, o *object) {
	o.word.Add(1)
	wait.Wake(s.M, &o.armed)
}

// echo changes object 1 after every change of object 0.
func echo(c *shmemtest.Conn) error {
	s, v, err := attach(c.Args()[0], waittest.ReadWrite)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(c.Args()[1])
	for i := range n {
		go until(context.Background(), s, &v.o[2+i%1000], 0)
	}
	if n == 0 {
		wait.LookLate(time.Hour)
	}
	for n > 0 && s.M.Peers.Slot(int(s.Self.Slot())).Interest.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Duration(n) * 20 * time.Microsecond)
	c.Send("ready")
	for i := uint32(0); ; i++ {
		if err := until(context.Background(), s, &v.o[0], i); err != nil {
			return err
		}
		change(s, &v.o[1])
	}
}

// wakeOnce is killed at a step of Wake.
func wakeOnce(c *shmemtest.Conn) error {
	s, v, err := attach(c.Args()[0], waittest.ReadWrite)
	if err != nil {
		return err
	}
	c.Send("ready")
	if _, err := c.Recv(); err != nil {
		return err
	}
	step.Hook(func(p step.Point) {
		if string(p) == c.Args()[1] {
			c.Send("reached")
			select {}
		}
	})
	change(s, &v.o[0])
	c.Send("done")
	_, err = c.Recv()
	return err
}

// waitOnce waits, and may be killed at a step of Until.
func waitOnce(c *shmemtest.Conn) error {
	s, v, err := attach(c.Args()[0], waittest.ReadWrite)
	if err != nil {
		return err
	}
	step.Hook(func(p step.Point) {
		if string(p) == c.Args()[1] {
			c.Send("reached")
			select {}
		}
	})
	c.Send("ready")
	if err := until(context.Background(), s, &v.o[0], 0); err != nil {
		return err
	}
	c.Send("done")
	_, err = c.Recv()
	return err
}

// TestPingPong: each wake-up comes by a ring. Without one it would come an hour later.
func TestPingPong(t *testing.T) {
	wait.WithoutBackstop(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	path, s, v := newSeg(t)
	c := shmemtest.Start(t, "echo", path, "0")
	c.Expect(t, "ready")
	const rounds = 2000
	var took []time.Duration
	for i := range uint32(rounds) {
		start := time.Now()
		change(s, &v.o[0])
		if err := until(ctx, s, &v.o[1], i); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("round trip: median %v, p99 %v, max %v", took[rounds/2], took[rounds*99/100], took[rounds-1])
	c.Kill()
}

func threads(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(b, []byte("Threads:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, _ := strconv.Atoi(string(bytes.TrimSpace(line)))
	return n
}

// TestManyWaiters: ten thousand goroutines wait, on a thousand objects and on one, with few
// threads.
func TestManyWaiters(t *testing.T) {
	_, s, v := newSeg(t)
	for _, objects := range []int{1000, 1} {
		before := threads(t)
		var m0, m1 runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m0)
		const n = 10_000
		var wg sync.WaitGroup
		var parked atomic.Int32
		for i := range n {
			o := &v.o[i%objects]
			old := o.word.Load()
			wg.Go(func() {
				parked.Add(1)
				if err := until(context.Background(), s, o, old); err != nil {
					t.Error(err)
				}
			})
		}
		for parked.Load() < n {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(200 * time.Millisecond)
		runtime.ReadMemStats(&m1)
		more := threads(t) - before
		start := time.Now()
		for i := range objects {
			change(s, &v.o[i])
		}
		wg.Wait()
		t.Logf("%d goroutines on %d objects: %d threads more, %d bytes each, all woken in %v",
			n, objects, more, (m1.Sys-m0.Sys)/n, time.Since(start))
		if more > 10+runtime.GOMAXPROCS(0) {
			t.Errorf("%d threads more", more)
		}
	}
}

// rung is how long a waiter that is rung may take to wake, on a machine of any load. A waiter that
// is not rung takes longer, without the backstop.
const rung = 20 * time.Second

func TestCancel(t *testing.T) {
	wait.WithoutBackstop(t)
	_, s, v := newSeg(t)
	for _, n := range []int{1, 5} { // a leader alone; with followers
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(context.Background())
		for range n {
			wg.Go(func() {
				if err := until(ctx, s, &v.o[0], 0); !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		start := time.Now()
		cancel()
		wg.Wait()
		if d := time.Since(start); d > rung {
			t.Errorf("%d waiters: cancelling took %v", n, d)
		}
	}
}

func TestClose(t *testing.T) {
	wait.WithoutBackstop(t)
	path := filepath.Join(shmemtest.Dir(t), "seg")
	if err := waittest.Create(path, mem.SizeOf[values](), 16); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	for _, how := range []waittest.How{waittest.ReadWrite, waittest.ReadWish, waittest.ReadPermission, waittest.Foreign} {
		s, v, err := attach(path, how)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 10 {
			// In the control block an attachment that is read-only by wish can wait as any other.
			armed, ready := &v.o[0].armed, v.o[0].isNot(0) // here: after Close v is not there
			if how == waittest.ReadWish {
				armed = &s.M.Peers.Words.SeqArmed
			}
			wg.Go(func() {
				if err := wait.Until(context.Background(), s.M, armed, ready, wait.Options{}); !errors.Is(err, wait.ErrClosed) {
					t.Errorf("%v: %v", how, err)
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		start := time.Now()
		s.Close()
		wg.Wait()
		if d := time.Since(start); d > rung {
			t.Errorf("%v: closing took %v", how, d)
		}
		if err := wait.Until(context.Background(), s.M, nil, nil, wait.Options{}); !errors.Is(err, wait.ErrClosed) {
			t.Errorf("%v: after Close: %v", how, err)
		}
	}
}

// TestReadOnly: an attachment that cannot write polls.
func TestReadOnly(t *testing.T) {
	path, s, v := newSeg(t)
	for _, how := range []waittest.How{waittest.ReadPermission, waittest.Foreign} {
		ro, rv, err := attach(path, how)
		if err != nil {
			t.Fatal(err)
		}
		old := rv.o[0].word.Load()
		done := make(chan error)
		go func() { done <- until(context.Background(), ro, &rv.o[0], old) }()
		time.Sleep(5 * time.Millisecond)
		change(s, &v.o[0])
		if err := <-done; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		if err := until(ctx, ro, &rv.o[0], old+1); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		ro.Close()
	}
}

// TestKillWaker: a waker dies at every step; a waiter in another process goes on, by the backstop
// at the latest, and so does the next one.
func TestKillWaker(t *testing.T) {
	for _, p := range []step.Point{step.WakeArmed, step.WakePending, step.WakeBell, step.WakeRung, step.WakeAll, step.WakeDone} {
		t.Run(string(p), func(t *testing.T) {
			for range 20 { // the leader may wake by itself just when it is rung
				if killWaker(t, p) {
					return
				}
			}
			t.Error("the waker never reached the step")
		})
	}
}

// killWaker reports false if the waker ended without the step.
func killWaker(t *testing.T, p step.Point) bool {
	path, s, v := newSeg(t)
	c := shmemtest.Start(t, "wake", path, string(p))
	c.Expect(t, "ready")
	done := make(chan error, 2)
	go func() { done <- until(context.Background(), s, &v.o[0], 0) }()
	for v.o[0].armed.Load() == 0 || s.M.Peers.Slot(int(s.Self.Slot())).Sleeping.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	at := time.Now()
	line := c.Ask(t, "go")
	c.Kill()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if d := time.Since(at); d > rung {
		t.Errorf("woken after %v", d)
	}
	go func() { done <- until(context.Background(), s, &v.o[0], 1) }()
	time.Sleep(5 * time.Millisecond)
	at = time.Now()
	change(s, &v.o[0])
	if err := <-done; err != nil {
		t.Error(err)
	}
	if d := time.Since(at); d > rung {
		t.Errorf("the next one was woken after %v", d)
	}
	if line != "reached" && line != "done" {
		t.Errorf("the waker said %q", line)
	}
	return line == "reached"
}

// TestKillWaiter: a waiter dies at every step; another one in this process is woken at once.
func TestKillWaiter(t *testing.T) {
	for _, p := range []step.Point{step.WaitInterest, step.WaitArmed, step.WaitLead, step.WaitSleep, step.WaitWoken, step.WaitLeave} {
		t.Run(string(p), func(t *testing.T) {
			path, s, v := newSeg(t)
			wait.WithoutBackstop(t)
			c := shmemtest.Start(t, "wait", path, string(p))
			c.Expect(t, "ready")
			if p == step.WaitWoken || p == step.WaitLeave {
				// It sleeps only once, if it stays at the step because it has woken by itself.
				for i := 0; s.M.Peers.Slot(1).Sleeping.Load() == 0 && i < 5000; i++ {
					time.Sleep(time.Millisecond)
				}
				change(s, &v.o[0])
			}
			c.Expect(t, "reached")
			c.Kill()
			old := v.o[0].word.Load()
			done := make(chan error, 1)
			go func() { done <- until(context.Background(), s, &v.o[0], old) }()
			time.Sleep(5 * time.Millisecond)
			at := time.Now()
			change(s, &v.o[0])
			if err := <-done; err != nil {
				t.Error(err)
			}
			if d := time.Since(at); d > rung {
				t.Errorf("woken after %v", d)
			}
		})
	}
}

// TestProbe: Options.Probe is called while waiting, by leaders and followers.
func TestProbe(t *testing.T) {
	_, s, v := newSeg(t)
	go until(context.Background(), s, &v.o[7], 0)
	defer change(s, &v.o[7])
	for range 2 {
		var n atomic.Int32
		start := time.Now()
		err := wait.Until(context.Background(), s.M, &v.o[0].armed, v.o[0].isNot(0), wait.Options{
			Probe: func() bool { return n.Add(1) == 3 },
		})
		if d := time.Since(start); err != nil || d < 50*time.Millisecond || d > rung {
			t.Errorf("3 calls took %v: %v", d, err)
		}
	}
}

// TestLocal: ordinary memory.
func TestLocal(t *testing.T) {
	var o object
	done := make(chan error, 100)
	for range cap(done) {
		go func() { done <- wait.Until(context.Background(), nil, &o.armed, o.isNot(0), wait.Options{}) }()
	}
	time.Sleep(10 * time.Millisecond)
	o.word.Add(1)
	wait.Wake(nil, &o.armed)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if err := wait.Until(ctx, nil, &o.armed, o.isNot(1), wait.Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func BenchmarkWakeNobody(b *testing.B) {
	_, s, v := newSeg(b)
	b.ReportAllocs()
	for b.Loop() {
		change(s, &v.o[0])
	}
}

func BenchmarkWakeNobodyBare(b *testing.B) {
	_, s, v := newSeg(b)
	for b.Loop() {
		wait.Wake(s.M, &v.o[0].armed)
	}
}

// TestProber: of many waiters with the same subject one calls Probe. When it leaves another one
// does. What one finds all find.
func TestProber(t *testing.T) {
	const n = 500
	_, s, v := newSeg(t)
	for _, m := range []*mem.Mapping{s.M, nil} {
		o := &v.o[0]
		if m == nil {
			o = new(object)
		}
		var looks atomic.Int32
		var dead atomic.Bool
		ctx, cancel := context.WithCancel(context.Background())
		done, gone := make(chan error, n), make(chan error, n)
		begin := func(ctx context.Context, end chan error) {
			end <- wait.Until(ctx, m, &o.armed, o.isNot(0), wait.Options{
				Probe: func() bool { looks.Add(1); return dead.Load() },
			})
		}
		for range n / 2 {
			go begin(ctx, gone)
			go begin(context.Background(), done)
		}
		start := time.Now()
		time.Sleep(500 * time.Millisecond)
		for looks.Load() < 3 && time.Since(start) < rung {
			time.Sleep(time.Millisecond)
		}
		if got, most := int(looks.Load()), 10+int(time.Since(start)/(10*time.Millisecond)); got < 3 || got > most {
			t.Errorf("%d waiters called Probe %d times within %v, want 3 to %d", n, got, time.Since(start), most)
		}
		cancel()
		for range n / 2 {
			if err := <-gone; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		before := looks.Load()
		for end := time.Now().Add(rung); looks.Load() < before+3 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if looks.Load() < before+3 {
			t.Error("no waiter is the prober any more")
		}
		dead.Store(true)
		for range n / 2 {
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(rung):
				t.Fatal("a waiter does not find what others found")
			}
		}
	}
}

// BenchmarkParked is a wait for another process, without what the kernel and the Go scheduler do.
func BenchmarkParked(b *testing.B) {
	_, s, v := newSeg(b)
	o := &v.o[0]
	bit := uint64(1) << layout.Bucket(uintptr(mem.Offset(s.M, &o.armed)))
	wait.WakeInstead(s.M, func(slot *mem.Slot) { // as another process does
		o.word.Add(1)
		armed := o.armed.Load()
		slot.Pending.Or(bit)
		slot.Bell.Add(1)
		o.armed.CompareAndSwap(armed, armed&^1)
	})
	ctx, old := context.Background(), o.word.Load()
	ready := func() bool { return o.word.Load() != old }
	probe := func() bool { return false }
	b.ReportAllocs()
	for b.Loop() {
		err := wait.Until(ctx, s.M, &o.armed, ready, wait.Options{NoSpin: true, Probe: probe})
		if err != nil {
			b.Fatal(err)
		}
		old++
	}
}
