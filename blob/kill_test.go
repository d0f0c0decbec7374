package blob_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/blob"
	"github.com/shmembox/shmem/internal/robust"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles, shmemtest.Role{Name: "victim", Run: victim},
		shmemtest.Role{Name: "worker", Run: worker})
}

// What a victim does. handle is that of a buffer which the parent holds or has handed over.
var victims = map[string]func(p *blob.Pool, handle blob.Handle) error{
	"take": func(p *blob.Pool, _ blob.Handle) error {
		b, err := p.TryTake(10)
		if err == nil {
			err = b.Close()
		}
		return err
	},
	"resolve": func(p *blob.Pool, h blob.Handle) error {
		_, err := p.Resolve(h)
		return err
	},
	"hand over": func(p *blob.Pool, h blob.Handle) error {
		b, err := p.TryTake(10)
		if err == nil {
			_, err = b.HandOver(100 * time.Millisecond)
		}
		return err
	},
	"sweep": func(p *blob.Pool, _ blob.Handle) error {
		_, err := p.Sweep()
		return err
	},
}

var victimSteps = []struct {
	does string
	at   step.Point
}{
	{"take", step.BlobClaimed}, {"take", step.BlobTaken}, {"take", step.BlobLeft},
	{"take", step.BlobFreed}, {"resolve", step.BlobJoining}, {"resolve", step.BlobJoined},
	{"resolve", step.BlobAccepted}, {"hand over", step.BlobSent}, {"sweep", step.BlobSwept},
	{"sweep", step.BlobFreed},
}

// victim does something, and stays at a step of it.
func victim(c *shmemtest.Conn) error {
	p, err := blob.Attach("p", &blob.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	var h blob.Handle
	if err := h.UnmarshalText([]byte(c.Args()[3])); err != nil {
		return err
	}
	step.Hook(func(p step.Point) {
		if string(p) == c.Args()[2] {
			c.Send("reached")
			select {}
		}
	})
	if err := victims[c.Args()[1]](p, h); err != nil {
		return err
	}
	return fmt.Errorf("%s is not reached", c.Args()[2])
}

// TestKillAtEveryStep kills a process at each step. All buffers are free again then.
func TestKillAtEveryStep(t *testing.T) {
	reached := map[step.Point]bool{}
	for i, v := range victimSteps {
		reached[v.at] = true
		if robust.RaceEnabled && i%4 > 0 {
			continue // the race detector sees nothing in another process, and starts slowly
		}
		t.Run(v.does+" "+string(v.at), func(t *testing.T) { killAt(t, v.does, v.at) })
	}
	for _, p := range step.Blob {
		if !reached[p] {
			t.Errorf("no process is killed at %s", p)
		}
	}
}

func killAt(t *testing.T, does string, at step.Point) {
	dir := shmemtest.Dir(t)
	p := small(t, dir)
	b := take(t, p, "hello")
	h := b.Handle()
	switch {
	case at == step.BlobAccepted:
		var err error
		h, err = b.HandOver(time.Minute)
		check(t, err)
	case does == "sweep": // of what another one has left
		c := shmemtest.Start(t, "victim", dir, "take", string(step.BlobTaken), h.String())
		c.Expect(t, "reached")
		c.Kill()
	}
	c := shmemtest.Start(t, "victim", dir, does, string(at), h.String())
	c.Expect(t, "reached")
	check(t, c.Stop())
	if at != step.BlobAccepted { // what the parent has stays its own
		if got := text(t, b); got != "hello" {
			t.Errorf("%q", got)
		}
	}
	c.Kill()
	check(t, b.Close())
	ctx, cancel := context.WithTimeout(background, 20*time.Second)
	defer cancel()
	for range 3 {
		b, err := p.Take(ctx, 10)
		check(t, err)
		defer b.Close()
	}
}

// kills is how often TestKilledAtRandom kills.
var kills = flag.Int("kills", 10, "how many processes TestKilledAtRandom kills")

const (
	workers    = 3
	workerHold = 4 // buffers that a worker keeps at most
)

// A note is a message of a worker: a handle, and the number that is in all words of the buffer.
type note struct {
	H      blob.Handle
	Number uint64
}

func isStale(err error) bool { return errors.Is(err, blob.ErrStale) }

// worker takes buffers, fills them, sends their handles, resolves those that it receives, checks
// the bytes, and hands some of them on, until it is killed.
func worker(c *shmemtest.Conn) error {
	dir := c.Args()[0]
	p, err := blob.Attach("p", &blob.Options{Dir: dir})
	if err != nil {
		return err
	}
	q, err := queue.Attach[note]("q", &queue.Options{Dir: dir})
	if err != nil {
		return err
	}
	c.Send("ready")
	w := newsRoom{p: p, q: q}
	for {
		if err := errors.Join(w.send(), w.receive()); err != nil {
			return err
		}
	}
}

type newsRoom struct {
	p    *blob.Pool
	q    *queue.Queue[note]
	held []*blob.Buffer
}

// send sends a new buffer, and keeps a share of it or not.
func (w *newsRoom) send() error {
	n := 8 * (1 + rand.IntN(500))
	b, err := w.p.TryTake(n)
	if errors.Is(err, blob.ErrFull) {
		return nil
	} else if err != nil {
		return err
	}
	number := rand.Uint64()
	err = b.Update(func(all []byte) error {
		for i := 0; i < n; i += 8 {
			binary.NativeEndian.PutUint64(all[i:], number)
		}
		return nil
	})
	if errors.Is(err, blob.ErrShared) { // a process with a stale handle looks at it
		return b.Close()
	} else if err != nil {
		return err
	}
	return w.pass(b, number)
}

// pass passes a buffer on.
func (w *newsRoom) pass(b *blob.Buffer, number uint64) error {
	h := b.Handle()
	if rand.IntN(2) == 0 {
		var err error
		if h, err = b.HandOver(2 * time.Second); err != nil && !errors.Is(err, blob.ErrNoShare) {
			return err
		} else if err != nil {
			return b.Close()
		}
	} else {
		w.held = append(w.held, b)
		if len(w.held) > workerHold {
			if err := w.held[0].Close(); err != nil {
				return err
			}
			w.held = w.held[1:]
		}
	}
	if err := w.q.TrySend(note{h, number}); err != nil && !errors.Is(err, queue.ErrFull) {
		return err
	}
	return nil
}

// receive resolves a handle. The bytes are those that were written, or it is stale.
func (w *newsRoom) receive() error {
	m, err := w.q.TryRecv()
	if errors.Is(err, queue.ErrEmpty) {
		return nil
	} else if err != nil {
		return err
	}
	b, err := w.p.Resolve(m.H)
	if isStale(err) || errors.Is(err, blob.ErrNoShare) {
		return nil
	} else if err != nil {
		return err
	}
	err = b.View(func(all []byte) error {
		if len(all) != m.H.Len() {
			return fmt.Errorf("%d bytes, want %d", len(all), m.H.Len())
		}
		for i := 0; i < len(all); i += 8 {
			if got := binary.NativeEndian.Uint64(all[i:]); got != m.Number {
				return fmt.Errorf("other bytes: %x, want %x", got, m.Number)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if rand.IntN(3) == 0 {
		return w.pass(b, m.Number)
	}
	return b.Close()
}

// TestKilledAtRandom kills processes that pass buffers to each other, at any moment. No process
// sees other bytes than those of a handle, and all buffers are free again when all are dead and
// what was on its way has expired.
func TestKilledAtRandom(t *testing.T) {
	dir := shmemtest.Dir(t)
	p := open(t, dir, blob.Options{Classes: []blob.Class{{Size: 1024, Count: 20}, {Size: 4096, Count: 20}}})
	q, err := queue.Open[note]("q", &queue.Options{Dir: dir, Capacity: 32})
	check(t, err)
	defer q.Close()
	var all [workers]*shmemtest.Child
	for i := range all {
		all[i] = shmemtest.Start(t, "worker", dir)
	}
	for i := range all {
		all[i].Expect(t, "ready")
	}
	if robust.RaceEnabled {
		*kills = min(*kills, 3)
	}
	for n := range *kills {
		i := n % workers
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		all[i].Kill()
		all[i] = shmemtest.Start(t, "worker", dir)
		all[i].Expect(t, "ready")
	}
	for end := time.Now().Add(30 * time.Second); takenOf(p) < 1000; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("only %d buffers were taken", takenOf(p))
		}
	}
	for i := range all {
		if err := all[i].Stop(); err != nil { // one that has found something has ended
			t.Errorf("worker %d: %v", i, all[i].Wait())
		}
		all[i].Kill()
	}
	ctx, cancel := context.WithTimeout(background, 20*time.Second)
	defer cancel()
	for range 40 {
		b, err := p.Take(ctx, 10)
		check(t, err)
		defer b.Close()
	}
	s := p.Stats()
	t.Logf("%d kills, %d buffers taken, %d shares of the dead, %d expired", *kills, takenOf(p),
		s.Dead, s.Expired)
	if _, err := p.TryTake(10); !errors.Is(err, blob.ErrFull) {
		t.Error(err)
	}
	if err := shmem.Remove(dir, "q"); err != nil {
		t.Error(err)
	}
}

// takenOf is how many times a buffer was taken.
func takenOf(p *blob.Pool) (n uint64) {
	for _, c := range p.Stats().Classes {
		n += c.Taken
	}
	return n
}
