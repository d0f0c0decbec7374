package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// A suspect is a lock that a running process holds. It is a trouble if that process holds it for
// long without a change.
type suspect struct {
	o      *inspect.Observer
	name   string
	part   string // "" for the box's own lock
	holder inspect.Holder
	first  *inspect.Status
	gone   bool
}

// segment looks for troubles of a segment.
func (k *checkup) segment(r row) {
	k.state(r)
	if r.err != nil || r.State == shmem.Foreign || r.Err != nil {
		return
	}
	o, err := openPath(r.Path)
	if err != nil {
		k.unread(r, err)
		return
	}
	st, err := o.Glance() // it has just been read in full
	if err != nil {
		k.unread(r, err)
	} else {
		k.status(r, o, st)
	}
	for _, s := range k.slow {
		if s.o == o {
			return // it is looked at again
		}
	}
	o.Close()
}

// status looks for troubles of a segment's locks, stream and slots.
func (k *checkup) status(r row, o *inspect.Observer, st *inspect.Status) {
	k.locks(r, o, st)
	k.stream(r, st)
	k.slots(r, st)
}

// unread says that a segment could not be looked at. One that is gone by now is no trouble.
func (k *checkup) unread(r row, err error) {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		k.add(trouble{Level: warning, Kind: "unreadable", Segment: r.Name,
			Cause: "it cannot be looked at: " + reason(err)})
	}
}

// state finds what is wrong with a segment as a whole.
func (k *checkup) state(r row) {
	t := trouble{Level: warning, Segment: r.Name, Command: k.command("rm", r.Name)}
	switch {
	case errors.Is(r.err, fs.ErrPermission):
		return
	case r.err != nil:
		t.Kind, t.Cause, t.Command = "unreadable", "it cannot be read: "+reason(r.err), ""
	case r.unlinked:
		t.Level, t.Kind, t.Command = note, "unlinked", ""
		t.Cause = fmt.Sprintf("its name was removed, and %d still attached: no other process can "+
			"find it, and %s of memory stay in use until they leave", max(len(r.Peers), 1),
			bytesText(r.InUse))
		if len(r.Peers) > 0 {
			p := k.ps.ofPeer(r.Peers[0])
			t = t.blame(p, inspect.Holder{PID: r.Peers[0].PID})
			t.Command = k.release(p)
		}
	case r.State == shmem.Garbage:
		t.Level, t.Kind, t.Command = note, "garbage", k.command("gc")
		t.Cause = fmt.Sprintf("%s; %s of memory", whyGarbage(r.Info), bytesText(r.InUse))
		if !isOwn(r.Info) {
			t.Command = "su " + shellQuote(userName(r.UID)) + " -c " + shellQuote(k.command("gc"))
		}
	case r.State == shmem.Orphaned:
		t.Level, t.Kind = note, "orphan"
		t.Cause = fmt.Sprintf("its owner (%s) has died, and %d still attached: the last of these "+
			"that leaves removes it", r.Program, max(len(r.Peers), 1))
		t.Command = k.command("stat", r.Name)
	case r.State == shmem.Copied:
		t.Level, t.Kind, t.Cause = note, "copy", reason(r.Err)
	case r.State == shmem.OtherVersion:
		t.Kind, t.Cause = "other-version", reason(r.Err)
		t.Command = k.command("stat", r.Name)
	case r.State == shmem.Damaged:
		t.Kind, t.Cause = "damaged", "no process can attach: "+reason(r.Err)
	default:
		return
	}
	k.add(t)
}

// locks finds locks that are not let go.
func (k *checkup) locks(r row, o *inspect.Observer, st *inspect.Status) {
	if st.Stats == nil {
		k.boxLock(r, o, st)
	}
	for _, h := range st.Readers {
		p, who := k.holder(st, h)
		if !h.Alive || !p.stopped() {
			continue
		}
		n, waits := k.waitingFor(st, "readers", "lock")
		k.add(trouble{Level: critical, Kind: "stopped-reader", Segment: r.Name, Waiting: n,
			Cause:   who + " is inside View: no process can change the value" + waits,
			Command: k.release(p)}.blame(p, h))
	}
	for _, l := range st.Locks {
		k.fieldLock(r, o, st, l)
	}
}

// boxLock finds a trouble of the box's own lock.
func (k *checkup) boxLock(r row, o *inspect.Observer, st *inspect.Status) {
	n, waits := k.waitingFor(st, "lock")
	t := trouble{Level: critical, Segment: r.Name, Waiting: n}
	died := func(who string) {
		t.Level, t.Kind, t.Command = warning, "dead-holder", k.command("recover", r.Name)
		t.Cause = who + " changing the value; the next one that locks it recovers it" + waits
		if st.ImageOff == 0 {
			t.Level, t.Command = critical, k.command("stat", r.Name)
			t.Cause = who + " changing the value, which cannot be undone: calls return " +
				"ErrOwnerDied until a program calls Box.Recover" + waits
		}
	}
	if len(st.Lock.Holders) == 0 {
		if st.Lock.Dead {
			died("a process died")
			k.add(t)
		}
		return
	}
	h := st.Lock.Holders[0]
	p, who := k.holder(st, h)
	switch {
	case !h.Alive && r.State == shmem.Garbage: // no process waits for that
	case !h.Alive:
		died("the lock is held by " + who + ": it died")
		k.add(t.blame(p, h))
	case p.stopped():
		t.Kind, t.Command = "stopped-holder", k.release(p)
		t.Cause = "the lock is held by " + who + waits
		k.add(t.blame(p, h))
	default:
		k.slow = append(k.slow, &suspect{o: o, name: r.Name, holder: h, first: st})
	}
}

// fieldLock finds a trouble of a lock in the value.
func (k *checkup) fieldLock(r row, o *inspect.Observer, st *inspect.Status, l inspect.FieldLock) {
	n, waits := k.waitingFor(st, l.Path)
	t := trouble{Level: critical, Segment: r.Name, Part: l.Path, Waiting: n}
	if r.State == shmem.Garbage || l.Type == "psync.Once" && l.Dead { // the next Do runs again
		return
	}
	if l.Dead && len(l.Holders) == 0 {
		t.Kind, t.Command = "dead-lock", k.command("recover", r.Name, l.Path)
		t.Cause = l.Path + " (" + l.Type + "): its holder died, and every Lock returns " +
			"ErrOwnerDied until a process calls Recover" + waits
		k.add(t)
		return
	}
	for _, h := range l.Holders {
		p, who := k.holder(st, h)
		t := t
		t.Cause = fmt.Sprintf("%s (%s) is held by %s%s", l.Path, l.Type, who, waits)
		if h.What == "promise" {
			t.Cause = fmt.Sprintf("%s (%s): %s has promised to set it%s", l.Path, l.Type, who,
				waits)
		}
		switch {
		case !h.Alive && h.What == "promise":
			t.Level, t.Kind, t.Command = warning, "dead-promise", k.command("stat", r.Name)
			k.add(t.blame(p, h))
		case !h.Alive:
			t.Kind, t.Command = "dead-lock", k.command("recover", r.Name, l.Path)
			k.add(t.blame(p, h))
		case p.stopped():
			t.Kind, t.Command = "stopped-holder", k.release(p)
			k.add(t.blame(p, h))
		case h.What != "promise" && l.State != "done":
			k.slow = append(k.slow,
				&suspect{o: o, name: r.Name, part: l.Path, holder: h, first: st})
		}
	}
}

// long looks again at the locks that running processes hold, for --held.
func (k *checkup) long() {
	if len(k.slow) == 0 {
		return
	}
	start := time.Now()
	for time.Since(start) < k.cmd.Held && k.ctx.Err() == nil {
		time.Sleep(min(20*time.Millisecond, k.cmd.Held))
		now := map[*inspect.Observer]*inspect.Status{}
		for _, s := range k.slow {
			if now[s.o] == nil {
				now[s.o], _ = s.o.Status()
			}
			s.gone = s.gone || !s.still(now[s.o])
		}
	}
	k.ps = procs{} // a process may have stopped meanwhile
	for _, s := range k.slow {
		s.o.Close()
		if s.gone || k.ctx.Err() != nil {
			continue
		}
		k.longHolder(s, time.Since(start))
	}
	k.slow = nil
}

// longHolder adds a lock that was held at every look for so long. A process that ends has its locks
// until the kernel has closed its files; the next look finds a dead holder.
func (k *checkup) longHolder(s *suspect, long time.Duration) {
	p, who := k.holder(s.first, s.holder)
	gone := p == nil && namespaceOf(s.first, s.holder) == ownNamespace()
	if gone || p != nil && p.state == "zombie" {
		return
	}
	what, waitFor := "the lock", []string{"lock"}
	if s.part != "" {
		what, waitFor = s.part, []string{s.part}
	}
	n, waits := k.waitingFor(s.first, waitFor...)
	t := trouble{Level: warning, Kind: "long-holder", Segment: s.name, Part: s.part, Waiting: n,
		ForMS: num(long.Milliseconds()), Command: k.release(p)}
	if n > 0 {
		t.Level = critical
	}
	t.Cause = fmt.Sprintf("%s was held by %s at every look for %v%s", what, who,
		long.Round(100*time.Millisecond), waits)
	k.add(t.blame(p, s.holder))
}

// still reports whether the same attachment holds the lock, as far as that can be seen: for the
// box's own lock the version says whether it was free in between.
func (s *suspect) still(now *inspect.Status) bool {
	if now == nil {
		return false
	}
	if s.part == "" {
		return len(now.Lock.Holders) > 0 && now.Lock.Holders[0] == s.holder &&
			now.Version == s.first.Version
	}
	for _, l := range now.Locks {
		if l.Path != s.part {
			continue
		}
		for _, h := range l.Holders {
			if h.Slot == s.holder.Slot && h.Generation == s.holder.Generation {
				return true
			}
		}
	}
	return false
}

// stream finds what keeps a queue or topic from flowing.
func (k *checkup) stream(r row, st *inspect.Status) {
	s := st.Stats
	if s == nil || r.State == shmem.Garbage {
		return
	}
	wedged := k.leases(r, st)
	if isTopic(s) {
		k.heldBack(r, st)
		return
	}
	wedged = k.ends(r, st) || wedged
	if full := percent(s.Depth, uint64(s.Capacity)); full >= k.cmd.Full && !wedged && !s.Ended {
		n, waits := k.waitingFor(st, "room")
		t := trouble{Level: warning, Kind: "full-queue", Segment: r.Name, Waiting: n,
			Cause: fmt.Sprintf("%d of %d messages wait%s: its receivers are too slow, or there "+
				"are none%s", s.Depth, s.Capacity, oldestText(s), waits), Command: k.command("ps")}
		if n > 0 {
			t.Level = critical
		}
		k.add(t)
	}
}

// leases finds the processes that have claimed or received messages and do not go on. It reports
// whether there is one.
func (k *checkup) leases(r row, st *inspect.Status) (found bool) {
	for _, l := range st.Stats.Leases {
		p, who := k.holder(st, l.Holder)
		what, waitFor := "receiving", "room"
		if l.What == "send" {
			what, waitFor = "sending", "a message"
		}
		n, waits := k.waitingFor(st, waitFor)
		t := trouble{Level: warning, Kind: "stopped-lease", Segment: r.Name, Waiting: n,
			Cause: fmt.Sprintf("%s is %s %s, from number %d on", who, what,
				plural(uint64(l.Count), "message"), l.Oldest),
			Command: k.release(p)}
		switch {
		case l.Blocks:
			t.Level, t.Kind = critical, "wedged"
			t.Cause += ": the ring is full behind it, and nothing can be sent"
		case !l.Alive || p.stopped() && n > 0:
			t.Level = critical
		}
		if !l.Alive {
			t.Level, t.Kind = note, "dead-lease"
			t.Command = k.command("stat", r.Name)
		}
		if !l.Alive || l.Blocks || p.stopped() {
			t.Cause += waits
			k.add(t.blame(p, l.Holder))
			found = true
		}
	}
	return found
}

// ends finds dead and stopped processes at the ends of a Single queue.
func (k *checkup) ends(r row, st *inspect.Status) (found bool) {
	for _, h := range []inspect.Holder{st.Stats.Sender, st.Stats.Receiver} {
		if h == (inspect.Holder{}) || st.Stats.Ended {
			continue
		}
		p, who := k.holder(st, h)
		end, waitFor := "sender", "a message"
		if h.What == "receive" {
			end, waitFor = "receiver", "room"
		}
		n, waits := k.waitingFor(st, waitFor)
		t := trouble{Level: warning, Segment: r.Name, Part: end, Waiting: n}
		switch {
		case !h.Alive:
			t.Kind, t.Command = "dead-end", k.command("stat", r.Name)
			t.Cause = fmt.Sprintf("its %s was %s: start it again, it takes that end over%s", end,
				who, waits)
		case p.stopped():
			t.Level, t.Kind, t.Command = critical, "stopped-end", k.release(p)
			t.Cause = fmt.Sprintf("its %s is %s%s", end, who, waits)
		default:
			continue
		}
		k.add(t.blame(p, h))
		found = true
	}
	return found
}

// heldBack finds a subscriber that holds the publishers of a topic back.
func (k *checkup) heldBack(r row, st *inspect.Status) {
	s := st.Stats
	if s.Holds == 0 || s.Ended {
		return
	}
	h := s.SlowestHolder
	p, who := k.holder(st, h)
	far := percent(s.Lag, uint64(s.Capacity)) >= k.cmd.Full
	if !far && !p.stopped() && h.Alive {
		return
	}
	n, waits := k.waitingFor(st, "room")
	t := trouble{Level: warning, Kind: "held-back", Segment: r.Name, Waiting: n,
		Command: k.release(p)}
	t.Cause = fmt.Sprintf("its publishers are held back by %s, which is %d of %d messages behind%s",
		who, s.Lag, s.Capacity, waits)
	if n > 0 || s.Lag >= uint64(s.Capacity) {
		t.Level = critical
	}
	if !h.Alive {
		t.Level, t.Command = note, ""
		t.Cause += "; the next publisher that waits releases it"
	}
	k.add(t.blame(p, h))
}

// slots finds segments with few free slots.
func (k *checkup) slots(r row, st *inspect.Status) {
	alive := 0
	for _, s := range st.Slots {
		if s.Alive {
			alive++
		}
	}
	const few = 4 // so small a segment is meant to be full
	if r.Slots < few || percent(uint64(alive), uint64(r.Slots)) < k.cmd.Full {
		return
	}
	t := trouble{Level: warning, Kind: "few-slots", Segment: r.Name, Command: k.command("ps"),
		Cause: fmt.Sprintf("%d of %d slots are taken: when none is left, no process can attach",
			alive, r.Slots)}
	if alive == r.Slots {
		t.Level = critical
	}
	k.add(t)
}
