package segment

import (
	"context"
	"testing"
	"time"
)

// nextEvent returns the next event of a sequence.
func nextEvent(t *testing.T, s *Sequence) Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	e, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A peer writes what it likes into the words of events: nothing false is reported for long.
func TestEventsHostile(t *testing.T) {
	d := dir(t)
	a := open(t, d)
	s, err := a.Events()
	if err != nil {
		t.Fatal(err)
	}
	if e := nextEvent(t, s); e.Kind != Attached || e.Peer.ID != uint32(a.id) || !e.Peer.Owner {
		t.Errorf("%+v", e)
	}
	w := a.m.Peers.Words
	w.Gone.Store(1)
	w.Events.Store(1 << 63)
	w.EventsArmed.Store(0)
	b := open(t, d)
	if e := nextEvent(t, s); e.Kind != Attached || e.Peer.ID != uint32(b.id) {
		t.Errorf("with a false word gone: %+v", e)
	}
	b.m.Peers.Slot(int(b.id.Slot())).PID.Store(0)
	if e := nextEvent(t, s); e.Kind != Left || e.Peer.ID != uint32(b.id) {
		t.Errorf("with a pid that was cleared: %+v", e)
	}
	w.SlotHigh.Store(1 << 31) // more slots than there are
	free := a.m.Peers.Slot(9)
	free.Gen.Store(5)
	free.PID.Store(7) // in a slot that is not locked
	c := open(t, d)
	for {
		e := nextEvent(t, s)
		if e.Peer.Slot == 9 && (e.Kind == Attached || e.Kind == Died) {
			continue // it is believed that it was there
		}
		if e.Kind != Attached || e.Peer.ID != uint32(c.id) {
			t.Errorf("%+v", e)
		}
		break
	}
	if err := Remove(d, "s"); err != nil {
		t.Fatal(err)
	}
	for e := nextEvent(t, s); e.Kind != NameTaken; e = nextEvent(t, s) {
		if e.Peer.Slot != 9 {
			t.Errorf("%+v", e)
		}
	}
}

func TestAttachmentLifetime(t *testing.T) {
	d := dir(t)
	a := open(t, d, createdShared)
	want := func(a *Attachment, l string) {
		t.Helper()
		if got := a.Lifetime().String(); got != l {
			t.Errorf("lifetime %s, want %s", got, l)
		}
	}
	b := open(t, d)
	want(a, "shared")
	if err := b.Own(); err != nil {
		t.Fatal(err)
	}
	want(a, "owned")
	want(b, "owned")
	b.Abandon() // the owner has died: it is again what it was created as
	want(a, "shared")
	if err := a.Own(); err != nil {
		t.Fatal(err)
	}
	c := open(t, d)
	if err := a.Detach(true); err != nil {
		t.Fatal(err)
	}
	want(c, "kept")
	want(a, "shared") // after Detach
}
