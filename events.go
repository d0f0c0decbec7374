package shmem

import (
	"context"
	"fmt"
	"iter"

	"github.com/shmembox/shmem/internal/segment"
)

// An Event is a change in the life of a segment.
type Event struct {
	Kind EventKind
	Peer Peer // the attachment of Attached, Left and Died; the new owner of OwnerChanged
}

// An EventKind says what an Event is.
type EventKind int

// Kinds of events.
const (
	Attached     EventKind = iota + 1 // an attachment was made
	Left                              // an attachment was closed
	Died                              // a process died without closing its attachment
	OwnerChanged                      // by Own, or by Leak; then Peer is zero
	NameTaken                         // see Segment.Unlinked; it comes at most once
)

// String returns the kind in words.
func (k EventKind) String() string {
	if k < Attached || k > NameTaken {
		return fmt.Sprintf("EventKind(%d)", int(k))
	}
	return [...]string{"attached", "left", "died", "owner changed", "name taken"}[k-1]
}

// Events returns the changes of the segment, in order, from now on. It begins with an Attached for
// each attachment that exists, this one included, so that a peer is neither missed nor seen twice.
// Each loop over it begins anew. It ends when ctx is done, with its error, or when the segment is
// closed, with ErrClosed.
//
// A change is seen within milliseconds. The death of a process is seen when the kernel has freed
// its memory, for which this process holds a descriptor of each peer; that of a process in another
// PID namespace, and where there are no descriptors, within 100 ms. A slow loop sees changes that
// were made meanwhile in another order: those of the name and of the owner first, then attachments
// that have gone, then those that have come. It misses attachments where several have had one slot
// meanwhile, and may see Left for one of them that has died.
//
// Attachments that may only read the file are not seen and cannot call Events: ErrReadOnly. A
// foreign segment has no events: ErrForeign.
func (s *Segment) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		seq, err := s.a.Events()
		for {
			var e segment.Event
			if err == nil {
				e, err = seq.Next(ctx)
			}
			if err != nil {
				yield(Event{}, public("events", s.Name(), err))
				return
			}
			if !yield(Event{EventKind(e.Kind), Peer(e.Peer)}, nil) {
				return
			}
		}
	}
}

// Peers returns the attachments of the segment, this one included. Those that may only read the
// file are left out.
func (s *Segment) Peers() ([]Peer, error) {
	all, err := s.a.Peers()
	if err != nil {
		return nil, public("peers", s.Name(), err)
	}
	peers := make([]Peer, len(all))
	for i, p := range all {
		peers[i] = Peer(p)
	}
	return peers, nil
}

// ID returns the id of this attachment, by which Peer.ID and Event name it. No other attachment of
// the segment has the same id, neither now nor later: a slot repeats its ids after two million
// attachments. It is 0 for an attachment that may only read the file, and for one to a foreign
// segment.
func (s *Segment) ID() uint32 { return uint32(s.a.ID()) }

// Unlinked returns a channel that is closed when the name no longer leads to this segment: its
// owner closed it, it was removed, or its file was deleted or renamed. It is closed by Close of
// this attachment, too; Linked tells the difference. A segment without a name is unlinked from the
// start.
//
// The first call starts a goroutine, which ends with the attachment. The kernel tells it of the
// file by inotify. Where that cannot be had, it looks every 10 ms at first, and every second later.
func (s *Segment) Unlinked() <-chan struct{} { return s.a.Unlinked() }

// Lifetime returns when the segment ends, as its owner word says now: Own makes it Owned, Leak
// makes it Kept. After the death of an owner, after Close, and when the value was dropped, it is
// what the segment was created as. It is 0 for a foreign segment.
func (s *Segment) Lifetime() Lifetime { return Lifetime(s.a.Lifetime()) }

// AttachWait is Attach, but waits until there is a segment of that name that can be attached to, or
// until ctx is done. It returns other errors of Attach at once, such as ErrMismatch; a missing
// directory is such an error. Options.Timeout is for the gate, as in Attach.
func AttachWait[T any](ctx context.Context, name string, opts *Options) (b *Box[T], err error) {
	err = attachWait(ctx, name, opts, func() error {
		b, err = Attach[T](name, opts)
		return err
	})
	return b, err
}

// AttachSegmentWait is AttachSegment, but waits as AttachWait does.
func AttachSegmentWait(ctx context.Context, name string, opts *Options) (s *Segment, err error) {
	err = attachWait(ctx, name, opts, func() error {
		s, err = AttachSegment(name, opts)
		return err
	})
	return s, err
}

func attachWait(ctx context.Context, name string, opts *Options, attach func() error) error {
	c, err := opts.config()
	if err == nil {
		err = segment.WaitName(ctx, c, name, attach)
	}
	return public("attach", name, err)
}
