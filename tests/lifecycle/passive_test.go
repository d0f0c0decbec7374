package lifecycle_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

func init() {
	roles = append(roles,
		shmemtest.Role{Name: "passive-owner", Run: ownerRole},
		shmemtest.Role{Name: "passive-taker", Run: takerRole})
}

// ownerRole opens the box p, says what it finds, stores what it is told, and closes at the end.
func ownerRole(c *shmemtest.Conn) error {
	b, err := shmem.Open[point]("p", &shmem.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	c.Send("found %d %v", b.Value().X, b.Owned())
	for {
		if _, err := c.Recv(); err != nil {
			return b.Close()
		}
		if err := b.Store(context.Background(), point{X: b.Value().X + 7}); err != nil {
			return err
		}
		c.Send("stored")
	}
}

// takerRole takes a message of the queue q by a passive attachment, and waits to be killed.
func takerRole(c *shmemtest.Conn) error {
	q, err := queue.Attach[int64]("q", &queue.Options{Dir: c.Args()[0], Passive: true})
	if err != nil {
		return err
	}
	l, err := q.Take(context.Background())
	if err != nil {
		return err
	}
	c.Send("took %d %d %d", *l.Value(), l.Position(), l.Deliveries())
	_, _ = c.Recv()
	return nil
}

// TestPassive: an owner that is killed, and starts again, finds its box as if the passive attachment
// was not there; so does its Close. The passive one reads and waits meanwhile.
func TestPassive(t *testing.T) {
	ctx, dir := context.Background(), shmemtest.Dir(t)
	passive := func() *shmem.Box[point] {
		b, err := shmem.Attach[point]("p", &shmem.Options{Dir: dir, Passive: true})
		check(t, err)
		t.Cleanup(func() { _ = b.Close() })
		return b
	}
	owner := shmemtest.Start(t, "passive-owner", dir)
	owner.Expect(t, "found 0 true")
	b := passive()
	owner.Ask(t, "store")
	check(t, b.Wait(ctx, 0))
	if v, err := b.Load(ctx); err != nil || v.X != 7 {
		t.Fatal(v, err)
	}
	info, err := shmem.Stat(dir, "p")
	if err != nil || len(info.Peers) != 2 || info.Peers[0].Passive || !info.Peers[1].Passive || info.State != shmem.Live {
		t.Fatalf("%+v, %v", info, err)
	}
	owner.Kill()
	_ = owner.Wait()
	if info, err = shmem.Stat(dir, "p"); err != nil || info.State != shmem.Garbage || len(info.Peers) != 1 {
		t.Fatalf("%v with %d peers, %v; want garbage with one", info.State, len(info.Peers), err)
	}
	_, err = shmem.Attach[point]("p", &shmem.Options{Dir: dir, Passive: true})
	wantErr(t, err, fs.ErrNotExist)
	if v, err := b.Load(ctx); err != nil || v.X != 7 || !b.Linked() {
		t.Fatal(v, err)
	}

	owner = shmemtest.Start(t, "passive-owner", dir)
	owner.Expect(t, "found 0 true")
	within(t, func() { <-b.Unlinked() })
	b = passive()
	check(t, owner.Close())
	within(t, func() { <-b.Unlinked() })
	wantNames(t, dir)
}

// TestPassiveIsNoLastOne: a passive attachment keeps no segment alive and cleans none up, whether it
// leaves first or last. It cannot own, create or leak one.
func TestPassiveIsNoLastOne(t *testing.T) {
	dir := shmemtest.Dir(t)
	o := &shmem.Options{Dir: dir, Lifetime: shmem.Shared}
	a, err := shmem.Open[point]("p", o)
	check(t, err)
	b, err := shmem.Open[point]("p", &shmem.Options{Dir: dir, Passive: true})
	check(t, err)
	wantErr(t, b.Own(), shmem.ErrBadOption)
	check(t, a.Close())
	wantNames(t, dir)
	a, err = shmem.Open[point]("p", &shmem.Options{Dir: dir})
	check(t, err)
	c, err := shmem.Attach[point]("p", &shmem.Options{Dir: dir, Passive: true})
	check(t, err)
	abandon(a.Segment())
	check(t, c.Segment().Leak())
	check(t, b.Close())
	if info, err := shmem.Stat(dir, "p"); err != nil || info.State != shmem.Garbage {
		t.Errorf("%v, %v: the orphan of a dead owner is garbage, also after a look", info.State, err)
	}
	reclaim(t, dir)
	wantNames(t, dir)
	_, err = shmem.Create[point]("p", &shmem.Options{Dir: dir, Passive: true})
	wantErr(t, err, shmem.ErrBadOption)
	_, err = shmem.Open[point]("p", &shmem.Options{Dir: dir, Passive: true})
	wantErr(t, err, fs.ErrNotExist)
	_, err = shmem.CreateAnonymous(64, &shmem.Options{Passive: true})
	wantErr(t, err, shmem.ErrBadOption)
}

// TestPassiveSlots: a passive attachment has a slot of its own, whichever kind comes first.
func TestPassiveSlots(t *testing.T) {
	dir := shmemtest.Dir(t)
	a, err := shmem.Open[point]("p", &shmem.Options{Dir: dir, Slots: 5})
	check(t, err)
	defer a.Close()
	seen := map[uint32]bool{a.Segment().ID() & 1023: true}
	for i := range 4 {
		b, err := shmem.Attach[point]("p", &shmem.Options{Dir: dir, Passive: i%2 == 0})
		check(t, err)
		defer b.Close()
		seen[b.Segment().ID()&1023] = true
	}
	if len(seen) != 5 {
		t.Errorf("5 attachments have the slots %v", seen)
	}
	for _, passive := range []bool{false, true} {
		_, err = shmem.Attach[point]("p", &shmem.Options{Dir: dir, Passive: passive})
		wantErr(t, err, shmem.ErrNoSlot)
	}
}

// TestPassiveLease: the lease of a passive receiver that is killed ends, and the message keeps its
// position when it is redelivered; while it lives it keeps the message.
func TestPassiveLease(t *testing.T) {
	ctx, dir := context.Background(), shmemtest.Dir(t)
	q, err := queue.Open[int64]("q", &queue.Options{Dir: dir})
	check(t, err)
	defer q.Close()
	for i := range int64(3) {
		check(t, q.Send(ctx, i))
	}
	first, err := q.Take(ctx)
	check(t, err)
	at := first.Position()
	taker := shmemtest.Start(t, "passive-taker", dir)
	taker.Expect(t, "took 1 1 1")
	third, err := q.Take(ctx)
	if err != nil || *third.Value() != 2 || third.Position() != at+2 {
		t.Fatal(err, third)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := q.Take(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err, "a passive receiver is taken for dead")
	}
	taker.Kill()
	again, err := q.Take(ctx)
	if err != nil || *again.Value() != 1 || again.Position() != at+1 || again.Deliveries() != 2 {
		t.Fatal(err, again)
	}
	for _, l := range []*queue.Lease[int64]{first, third, again} {
		check(t, l.Done())
	}
}
