package robust_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/wait/waittest"
	"github.com/shmembox/shmem/shmemtest"
)

func TestMain(m *testing.M) { shmemtest.Main(m) }

const (
	free    = uint32(format.NoID)
	dead    = uint32(format.Dead)
	waiters = uint32(format.WaitersBit)
)

var background = context.Background()

// A peer is an attachment with a lock at the beginning of the payload. Several peers of one process
// are as independent as those of several processes: closing one that holds the lock is a death.
type peer struct {
	*waittest.Seg
	path string
	o    robust.Object
	lock *robust.Lock
}

// newPeers attaches n peers to a new segment.
func newPeers(t *testing.T, n int) []*peer {
	t.Helper()
	path := filepath.Join(shmemtest.Dir(t), "seg")
	if err := waittest.Create(path, 64, 16); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = attach(t, path, waittest.ReadWrite)
	}
	return peers
}

func attach(t *testing.T, path string, how waittest.How) *peer {
	t.Helper()
	s, err := waittest.Attach(path, how)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Seg: s, path: path, o: robust.Object{M: s.M, Me: s.Self}}
	if p.lock, err = mem.At[robust.Lock](s.M, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.die)
	return p
}

// die closes the attachment.
func (p *peer) die() {
	if !p.M.Closed() {
		p.Close()
	}
}

func (p *peer) id() uint32 { return uint32(p.o.Me) }

func (p *peer) acquire(ctx context.Context, mode robust.Mode) (died bool, err error) {
	return robust.Acquire(ctx, p.o, &p.lock.Word, &p.lock.Armed, mode)
}

func (p *peer) tryAcquire(mode robust.Mode) (died bool, err error) {
	return robust.TryAcquire(p.o, &p.lock.Word, &p.lock.Armed, mode)
}

func (p *peer) release() error  { return robust.Release(p.o, &p.lock.Word, &p.lock.Armed) }
func (p *peer) markDead() error { return robust.MarkDead(p.o, &p.lock.Word, &p.lock.Armed) }

func (p *peer) recover(f func() error) error {
	return robust.Recover(p.o, &p.lock.Word, &p.lock.Armed, f)
}

// A result is what Acquire returned.
type result struct {
	died bool
	err  error
}

// start calls f in a goroutine.
func start(f func() (bool, error)) <-chan result {
	done := make(chan result, 1)
	go func() {
		died, err := f()
		done <- result{died, err}
	}()
	return done
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func wantWord(t *testing.T, what string, word *atomic.Uint32, want uint32) {
	t.Helper()
	if got := word.Load(); got != want {
		t.Errorf("%s: the word is %#x, want %#x", what, got, want)
	}
}

// eventually waits until cond reports true.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// await receives what a goroutine has to say.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("not within 20 s: %s", what)
		panic("unreachable")
	}
}
