package segment

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/wait"
)

// A process that has taken the name from a segment tells the other attachments:
//
//  1. close the ring, if it is a queue or topic: senders get errs.Unlinked from now on
//  2. set the word gone, and count the event
//  3. ring every attachment that waits, whatever for
//
// It comes after the unlink (DetachTold, RemoveTold). Attachments find out by themselves if the
// process dies before: see Nameless.

// tell tells the others that the name of this attachment's segment was taken. The mapping is
// drained and not retired yet.
func (a *Attachment) tell() {
	a.closeRing(a.m)
	// The file may be truncated.
	_ = a.m.Guard(func() { announce(a.m) })
}

// tell tells those attached to an open file, which this process can write, that its name was taken.
// If the file cannot be mapped they find out by themselves.
func (c *control) tell() {
	h := c.head
	m, err := mem.Map(mem.Spec{
		File: c.file, Payload: int(h.PayloadCap), Length: int(h.TotalSize),
		Control: int(h.ControlOff), Write: true,
	})
	if err != nil {
		c.closeRing(nil)
		return
	}
	c.closeRing(m)
	if m.JoinPeers(c.file, format.NoID, h) == nil {
		_ = m.Guard(func() { announce(m) })
	}
	m.Drain()
	m.Retire()
}

// closeRing does step 1. A stream that has ended stays so. Where the payload cannot be written, or
// there is no mapping, it uses the file: an End that comes between its two calls is lost then.
func (c *control) closeRing(m *mem.Mapping) {
	off, ok := layout.Closed(c.head.Form)
	if !ok || uint64(off)+8 > c.head.PayloadCap {
		return
	}
	if m != nil && m.Writable() {
		// The file may be truncated.
		_ = m.Guard(func() {
			if w, err := mem.At[atomic.Uint64](m, off); err == nil {
				w.CompareAndSwap(0, ring.Unlinked)
			}
		})
		return
	}
	var b [8]byte
	n, err := c.file.ReadAt(b[:], int64(off))
	if err != nil || n < len(b) || binary.NativeEndian.Uint64(b[:]) != 0 {
		return
	}
	putUint64(b[:], ring.Unlinked)
	_ = c.file.WriteAt(b[:], int64(off))
}

// announce does steps 2 and 3.
func announce(m *mem.Mapping) {
	w := m.Peers.Words
	w.Gone.Or(1)
	w.Events.Add(1)
	wait.RingAll(m)
}

// Nameless reports whether the file that this attachment has opened by a name has no name any more.
// A renamed file has one. The mapping is pinned.
func (a *Attachment) Nameless() bool {
	if a.path == "" {
		return false
	}
	st, err := a.file.Stat()
	return err == nil && st.Nlink == 0 && !a.Linked() // a file system may not count links
}

// ringAll makes all waiters look.
func (a *Attachment) ringAll() {
	// The file may be truncated.
	_ = a.m.Guard(func() { wait.RingAll(a.m) })
}
