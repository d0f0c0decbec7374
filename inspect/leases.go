package inspect

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/ring"
	"github.com/shmembox/shmem/internal/stream"
)

// A Lease is an attachment that is sending or receiving messages in place: it writes them before
// they are published, or reads them before they are released. Its slots of the ring cannot be used
// until then.
type Lease struct {
	Holder        // What is "send" or "receive", Count the number of messages
	Oldest uint64 // number of the oldest of these messages
	// Blocks reports that the ring is full because of that message: senders wait until this
	// attachment releases it, or dies.
	Blocks bool
	// Of a receiver: since when it has the message that it has longest, and how often the message
	// was delivered that was delivered most. Zero if that is not known: a lease has a time when it
	// is of queue.Queue.Take, or when another process has waited meanwhile.
	Since      time.Time
	Deliveries int
}

// maxLeases bounds how many attachments have leases in Stats.
const maxLeases = 1024

// leases finds the attachments that hold slots of a ring, by the words of the slots. Positions
// reach up to now, which is the next to be claimed. It also counts the messages that wait for
// redelivery.
func (o *Observer) leases(
	slots ring.Slots, marks []atomic.Uint64, now uint64,
) (all []Lease, redeliver int) {
	type key struct {
		id    format.ID
		state uint64
	}
	const idMask, shortMask = 1<<lapShift - 1, 1<<(stateShift-lapShift) - 1
	at, room := map[key]int{}, uint64(slots.Len())
	for i := range slots.Len() {
		w := slots.At(uint64(i)).Load()
		k := key{format.ID(w & idMask), w >> stateShift}
		if k.state == stateAgain || k.state == stateBatch {
			k.state = stateTaken
		}
		if k.id == 0 && k.state == stateTaken {
			redeliver++
		}
		if k.state != stateClaimed && k.state != stateTaken || k.id == 0 {
			continue
		}
		// The position is the one of this slot and lap that is closest to now.
		lap := now / room
		behind := (lap - w>>lapShift) & shortMask
		if behind > shortMask/2 { // it is ahead
			behind = 0
		}
		pos := (lap-min(behind, lap))*room + uint64(i)
		n, ok := at[k]
		if !ok {
			if len(all) == maxLeases {
				continue
			}
			what := map[uint64]string{stateClaimed: "send", stateTaken: "receive"}[k.state]
			n = len(all)
			at[k] = n
			all = append(all, Lease{Holder: o.holder(k.id, what), Oldest: pos})
		}
		all[n].Count++
		all[n].Oldest = min(all[n].Oldest, pos)
		if k.state == stateTaken && marks != nil {
			all[n].marked(ring.Mark(marks[i].Load()), w>>lapShift&shortMask)
		}
	}
	for i := range all {
		all[i].Blocks = all[i].Oldest+room <= now
	}
	slices.SortFunc(all, func(a, b Lease) int {
		if a.Oldest < b.Oldest {
			return -1
		}
		return 1
	})
	return all, redeliver
}

// marked notes what a mark says of one of the messages, which is of that lap.
func (l *Lease) marked(m ring.Mark, lap uint64) {
	if !m.Known(lap) {
		return
	}
	l.Deliveries = max(l.Deliveries, m.Deliveries(lap))
	if m.Due() { // its holder is about to change it
		return
	}
	now := time.Now()
	d := m.After(now.UnixMilli())
	t := now.Add(time.Duration(d) * time.Millisecond)
	if d != 0 && (l.Since.IsZero() || t.Before(l.Since)) {
		l.Since = t
	}
}

// topicLeases finds the publishers that have claimed a message and not published it.
func (o *Observer) topicLeases(t *stream.TopicMemory) []Lease {
	all, _ := o.leases(ring.SideBySide(t.Slots), nil, t.Ring.Now())
	return all
}

// streamWaits returns the armed words of a queue or topic: of senders that wait for room, and of
// receivers that wait for a message.
func (o *Observer) streamWaits() (all []armedWord) {
	var find func(t *format.Type, off int)
	find = func(t *format.Type, off int) {
		for _, f := range t.Fields {
			switch {
			case f.Name == "SendArmed":
				all = append(all, armedWord{off + f.Offset, "room"})
			case f.Name == "RecvArmed":
				all = append(all, armedWord{off + f.Offset, "a message"})
			case f.Type.Kind == format.Struct:
				find(f.Type, off+f.Offset)
			}
		}
	}
	first := o.t.Fields[0]
	find(first.Type, first.Offset)
	return all
}
