package segment

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// once calls a function at the first time that a point is reached, for each point of a map.
func once(t *testing.T, at map[step.Point]func()) {
	t.Helper()
	step.Hook(func(p step.Point) {
		if f := at[p]; f != nil {
			delete(at, p)
			f()
		}
	})
	t.Cleanup(func() { step.Hook(nil) })
}

// bindDrops makes each attachment count its drop.
func bindDrops(drops *int, all ...*Attachment) {
	for _, a := range all {
		a.Bind(Binding{Drop: func() { *drops++ }})
	}
}

// TestLookAgain: an attachment that seems to be the last one goes to the gate with its slot locked,
// and finds another there, which leaves at that moment and sees the slot. One of them must drop.
func TestLookAgain(t *testing.T) {
	d := dir(t)
	drops := 0
	a := open(t, d, createdShared)
	bindDrops(&drops, a)
	var b *Attachment
	once(t, map[step.Point]func(){
		step.DetachRead: func() {
			b = open(t, d)
			bindDrops(&drops, b)
			open(t, d).Abandon() // so that b does not seem to be the last one
		},
		step.DetachUnread: func() {
			if err := b.Detach(false); err != nil {
				t.Error(err)
			}
		},
	})
	if err := a.Detach(false); err != nil {
		t.Error(err)
	}
	if drops != 1 || exists(d) {
		t.Errorf("%d drops, the name exists: %v", drops, exists(d))
	}
}

// TestOpenLeavesTheDrop: the last attachment has unlocked its slot and has not yet reached the gate.
// An Open finds garbage, unlinks it and creates the name anew. The value is dropped all the same, by
// the attachment that leaves.
func TestOpenLeavesTheDrop(t *testing.T) {
	d := dir(t)
	drops := 0
	a := open(t, d, createdShared)
	open(t, d).Abandon() // so that a does not seem to be the last one
	bindDrops(&drops, a)
	var next *Attachment
	once(t, map[step.Point]func(){step.DetachLook: func() { next = open(t, d) }})
	if err := a.Detach(false); err != nil {
		t.Error(err)
	}
	if drops != 1 || !exists(d) || !next.Linked() {
		t.Errorf("%d drops, the name exists: %v, and leads to the new segment: %v", drops, exists(d),
			next != nil && next.Linked())
	}
}

// TestSlotOfAnother: while the last attachment is on its way to the gate another one comes, into its
// slot, and dies there. The first drops with the identity that it had.
func TestSlotOfAnother(t *testing.T) {
	d := dir(t)
	a := open(t, d, createdShared)
	open(t, d).Abandon()
	id := a.id
	last := open(t, d)
	var other *Attachment
	once(t, map[step.Point]func(){
		step.DetachUnlock: func() {
			other = open(t, d)
			other.Abandon()
			last.Abandon()
		},
	})
	file, err := sys.Open(filepath.Join(d, "s"), false) // with locks of its own
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	alive := false
	a.Bind(Binding{Drop: func() {
		b := &Attachment{control: control{file: file, stat: a.stat, head: a.head}}
		if alive, err = b.alive(id); err != nil {
			t.Error(err)
		}
	}})
	if err := a.Detach(false); err != nil {
		t.Error(err)
	}
	if other.id.Slot() != id.Slot() || other.id == id || !alive {
		t.Errorf("ids %v and %v; in Drop the first is alive: %v", id, other.id, alive)
	}
}

// TestSlotOfPassive: while the last attachment is on its way to the gate a passive one has come into
// its slot, and stays. The first drops all the same, in a slot of its own.
func TestSlotOfPassive(t *testing.T) {
	d := dir(t)
	a := open(t, d, createdShared)
	last := open(t, d)
	var other *Attachment
	once(t, map[step.Point]func(){
		step.DetachUnlock: func() {
			other = open(t, d, passive)
			last.Abandon()
		},
	})
	drops := 0
	a.Bind(Binding{Drop: func() {
		drops++
		p := other.Mapping().Peers
		if id := a.m.LockID(); id.Slot() == other.id.Slot() || !p.Alive(id) || !p.Alive(other.id) {
			t.Errorf("Drop locks as %v beside %v, alive: %v", id, other.id, p.Alive(id))
		}
	}})
	if err := a.Detach(false); err != nil {
		t.Error(err)
	}
	if other.id.Slot() != 0 || drops != 1 || exists(d) {
		t.Errorf("passive in slot %d, %d drops, the name exists: %v", other.id.Slot(), drops, exists(d))
	}
}

// longQueue makes a request one for a queue that is too long to be looked through under the gate.
func longQueue(t *testing.T) func(*Request) {
	t.Helper()
	number := &format.Type{Kind: format.Uint64, Size: 8, Align: 8}
	q, err := layout.NewQueue(number, 3<<13, false)
	if err != nil {
		t.Fatal(err)
	}
	return func(r *Request) {
		r.Schema, r.Size, r.Config.Lifetime = q.Type, q.Type.Size, format.LifetimeShared
	}
}

// TestLongQueue: the last Close of a long queue, and an Open of one that no process is attached to,
// look through it without the gate.
func TestLongQueue(t *testing.T) {
	long := longQueue(t)
	d := dir(t)
	a := open(t, d, long)
	if err := a.Detach(false); err != nil || exists(d) {
		t.Errorf("an empty queue is left: %v, %v", exists(d), err)
	}
	if a.scanned.times != 1 {
		t.Errorf("it was looked through %d times without the gate, want 1", a.scanned.times)
	}

	a = open(t, d, long)
	writeWord(t, a, ^uint64(0))
	a.Abandon()
	if b := open(t, d, long); b.scanned.times != 1 {
		t.Errorf("Open has looked through it %d times without the gate, want 1", b.scanned.times)
	}
}

// writeWord writes the word of a message slot that is not looked at under the gate. One that cannot
// be counts as a message.
func writeWord(t *testing.T, a *Attachment, w uint64) {
	t.Helper()
	var b [8]byte
	putUint64(b[:], w)
	if err := a.file.WriteAt(b[:], int64(a.head.Words+uint64(a.head.WordStep)*20000)); err != nil {
		t.Fatal(err)
	}
}

// TestScanIsStale: what was seen without the gate does not count if an attachment has come and gone
// since. After some tries the ring is looked through under the gate.
func TestScanIsStale(t *testing.T) {
	long := longQueue(t)
	d := dir(t)
	a := open(t, d, long)
	file, err := a.file.Reopen(true)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := &control{file: file, stat: a.stat, head: a.head}
	writeWord(t, a, ^uint64(0))
	a.Abandon()
	visit := func(w uint64) {
		b := open(t, d, long)
		writeWord(t, b, w)
		b.Abandon()
	}
	want := func(unread bool, e error) {
		t.Helper()
		if got, err := c.unreadAtGate(); err != e || err == nil && got != unread {
			t.Errorf("unread %v, %v; want %v, %v", got, err, unread, e)
		}
	}
	want(false, errScan)
	c.scanRing()
	want(true, nil)
	visit(^uint64(0))
	want(false, errScan)
	c.scanRing()
	want(true, nil)
	visit(0)
	want(false, errScan)
	c.scanRing()
	want(false, nil)
	writeWord(t, &Attachment{control: *c}, ^uint64(0)) // against the protocol: it is not noticed
	want(false, nil)
	visit(^uint64(0))
	want(true, nil) // the fourth look is under the gate
}

// TestRingAgrees: a header whose ring is not that of the stored type is damaged.
func TestRingAgrees(t *testing.T) {
	d := dir(t)
	a := open(t, d, longQueue(t))
	page := make([]byte, format.HeaderSize)
	at := int64(a.head.HeaderOff())
	if _, err := a.file.ReadAt(page, at); err != nil {
		t.Fatal(err)
	}
	putUint64(page[format.OffItems:], a.head.Items-1)
	format.Adopt(page, a.stat.Ino, a.stat.Dev)
	if err := a.file.WriteAt(page, at); err != nil {
		t.Fatal(err)
	}
	if l, err := Stat(d, "s"); err != nil || l.State != Damaged {
		t.Errorf("%v, %v, want damaged", l.State, err)
	}
	for _, edit := range []func(*Request){longQueue(t), attachOnly} {
		if _, err := tryOpen(d, edit); !errors.Is(err, errs.Corrupt) {
			t.Errorf("%v, want errs.Corrupt", err)
		}
	}
}

// TestCloseWithoutGate: an attachment that is not the last one closes although a process that is
// stopped holds the gate. One that may have something to clean up needs the gate.
func TestCloseWithoutGate(t *testing.T) {
	short := func(r *Request) { r.Config.Timeout = time.Millisecond }
	d := dir(t)
	a, b := open(t, d, short), open(t, d)
	stopped, err := sys.Open(filepath.Join(d, "s"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Close()
	if err := stopped.Lock(sys.GateByte, false); err != nil {
		t.Fatal(err)
	}
	if err := b.Detach(false); err != nil {
		t.Errorf("not the last one: %v", err)
	}
	if err := a.Detach(false); !errors.Is(err, errs.Busy) {
		t.Errorf("the owner: %v, want ErrBusy", err)
	}
	if err := stopped.Unlock(sys.GateByte, 1); err != nil {
		t.Fatal(err)
	}
	if l, err := Stat(d, "s"); err != nil || l.State != Garbage {
		t.Errorf("%v, %v, want garbage", l.State, err)
	}
}
