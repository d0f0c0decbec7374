package robust_test

import (
	"context"
	"testing"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/robust"
)

// shared returns the box's lock of n attachments to one segment.
func shared(t *testing.T, n int) ([]*peer, []*robust.Shared) {
	t.Helper()
	peers := newPeers(t, n)
	locks := make([]*robust.Shared, n)
	for i, p := range peers {
		locks[i] = robust.NewShared(p.M)
	}
	return peers, locks
}

// mark returns the reader mark of an attachment.
func (p *peer) mark() uint32 { return p.M.Peers.Slot(int(p.o.Me.Slot())).Reader.Load() }

// rlock locks for reading, and fails the test if a writer died.
func rlock(t *testing.T, s *robust.Shared) {
	t.Helper()
	if died, err := s.RLock(background); died || err != nil {
		t.Fatalf("RLock: %v, %v", died, err)
	}
}

// lock locks for writing, and checks whether the last writer died.
func lock(t *testing.T, s *robust.Shared, wantDied bool) {
	t.Helper()
	if died, err := s.Lock(background); died != wantDied || err != nil {
		t.Fatalf("Lock: %v, %v, want %v", died, err, wantDied)
	}
}

// TestSharedReaders: readers of several attachments, each with several goroutines, read together.
// The mark of an attachment stands until its last reader leaves.
func TestSharedReaders(t *testing.T) {
	peers, s := shared(t, 2)
	rlock(t, s[0])
	rlock(t, s[0])
	rlock(t, s[1])
	for i, p := range peers {
		if p.mark() != p.id() {
			t.Errorf("the mark of %d is %#x, want %#x", i, p.mark(), p.id())
		}
	}
	s[0].RUnlock()
	if peers[0].mark() != peers[0].id() {
		t.Error("the mark is gone although a goroutine still reads")
	}
	s[0].RUnlock()
	s[1].RUnlock()
	if peers[0].mark() != 0 || peers[1].mark() != 0 {
		t.Error("a mark is left")
	}
	lock(t, s[0], false)
	wantErr(t, "Unlock", s[0].Unlock(), nil)
}

// TestSharedWriterFirst: a writer waits for readers, and new readers wait for the writer.
func TestSharedWriterFirst(t *testing.T) {
	peers, s := shared(t, 3)
	word := &peers[0].M.Peers.Words.Lock
	rlock(t, s[0])
	writer := start(func() (bool, error) { return s[1].Lock(background) })
	eventually(t, "the writer holds the word", func() bool { return word.Load()&^waiters == peers[1].id() })
	reader := start(func() (bool, error) { return s[2].RLock(background) })
	eventually(t, "the reader waits", func() bool { return word.Load() == peers[1].id()|waiters })
	select {
	case r := <-writer:
		t.Fatalf("the writer does not wait for the reader: %+v", r)
	case r := <-reader:
		t.Fatalf("the reader does not wait for the writer: %+v", r)
	default:
	}
	s[0].RUnlock()
	if r := await(t, "the writer gets the lock", writer); r.died || r.err != nil {
		t.Errorf("Lock: %+v", r)
	}
	select {
	case r := <-reader:
		t.Fatalf("reads beside the writer: %+v", r)
	default:
	}
	wantErr(t, "Unlock", s[1].Unlock(), nil)
	if r := await(t, "the reader gets the lock", reader); r.died || r.err != nil {
		t.Errorf("RLock: %+v", r)
	}
	s[2].RUnlock()
}

// TestSharedReaderDies: the mark of a dead reader holds no writer up, also one that waits already.
func TestSharedReaderDies(t *testing.T) {
	peers, s := shared(t, 3)
	rlock(t, s[1])
	peers[1].die()
	lock(t, s[0], false)
	wantErr(t, "Unlock", s[0].Unlock(), nil)

	rlock(t, s[2])
	word := &peers[0].M.Peers.Words.Lock
	writer := start(func() (bool, error) { return s[0].Lock(background) })
	eventually(t, "the writer holds the word", func() bool { return word.Load()&^waiters == peers[0].id() })
	peers[2].die()
	if r := await(t, "the writer gets the lock", writer); r.died || r.err != nil {
		t.Errorf("Lock: %+v", r)
	}
	wantErr(t, "Unlock", s[0].Unlock(), nil)
}

// TestSharedWriterDies: readers are told of a writer's death until a writer has recovered the
// value.
func TestSharedWriterDies(t *testing.T) {
	peers, s := shared(t, 2)
	lock(t, s[1], false)
	peers[1].die()
	for range 2 {
		if died, err := s[0].RLock(background); !died || err != nil {
			t.Errorf("RLock: %v, %v", died, err)
		}
		if peers[0].mark() != 0 {
			t.Error("the reader's mark is set although it has not locked")
		}
	}
	lock(t, s[0], true)
	wantErr(t, "Abandon", s[0].Abandon(), nil) // the recovery failed
	if died, err := s[0].RLock(background); !died || err != nil {
		t.Errorf("RLock after Abandon: %v, %v", died, err)
	}
	lock(t, s[0], true)
	wantErr(t, "Unlock", s[0].Unlock(), nil)
	rlock(t, s[0])
	s[0].RUnlock()
	lock(t, s[0], false)
	wantErr(t, "Unlock", s[0].Unlock(), nil)
}

// TestSharedWriterDiesWhileWaiting: a reader that waits sees that the writer dies.
func TestSharedWriterDiesWhileWaiting(t *testing.T) {
	peers, s := shared(t, 2)
	lock(t, s[1], false)
	reader := start(func() (bool, error) { return s[0].RLock(background) })
	word := &peers[0].M.Peers.Words.Lock
	eventually(t, "the reader waits", func() bool { return word.Load() == peers[1].id()|waiters })
	peers[1].die()
	if r := await(t, "the reader sees the death", reader); !r.died || r.err != nil {
		t.Errorf("RLock: %+v", r)
	}
}

// TestSharedCanceled: a writer that gives up while it waits for readers frees the word. If it had
// taken the lock over from a dead writer, the next one is still told of that death.
func TestSharedCanceled(t *testing.T) {
	for _, over := range []bool{false, true} {
		peers, s := shared(t, 3)
		word := &peers[0].M.Peers.Words.Lock
		rlock(t, s[0])
		if over {
			word.Store(peers[2].id())
			peers[2].die()
		}
		ctx, cancel := context.WithCancel(background)
		writer := start(func() (bool, error) { return s[1].Lock(ctx) })
		eventually(t, "the writer holds the word", func() bool { return word.Load()&^waiters == peers[1].id() })
		cancel()
		wantErr(t, "Lock", await(t, "the writer gives up", writer).err, context.Canceled)
		s[0].RUnlock()
		lock(t, s[1], over)
		wantErr(t, "Unlock", s[1].Unlock(), nil)
	}
}

// TestSharedStrayBit: a waiters bit without a holder, which no process writes, stops no reader.
func TestSharedStrayBit(t *testing.T) {
	peers, s := shared(t, 1)
	peers[0].M.Peers.Words.Lock.Store(waiters)
	rlock(t, s[0])
	s[0].RUnlock()
	wantErr(t, "Unlock of what is not locked", s[0].Unlock(), errs.NotHeld)
}
