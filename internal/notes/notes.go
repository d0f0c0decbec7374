// Package notes tells the logger of a program what the library does after deaths and losses.
//
// It imports no other package of this module. Its invariant: the caller of Add, which may hold a
// lock in shared memory, never waits for the logger.
package notes

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A Kind says what has happened.
type Kind uint8

// Kinds of notes.
const (
	Recovered   Kind = iota // a value, lock, map or hold was made usable again after a death
	Reclaimed               // garbage was removed, to create a segment
	Redelivered             // messages, because their receiver died or was late
	Skipped                 // messages that were not sent because the sender died
	Lost                    // messages that were overwritten before this subscription received them
	OwnerDied               // the holder of a lock, or the owner of a segment, was found dead
)

// String returns the kind in words.
func (k Kind) String() string {
	return [...]string{"recovered", "reclaimed", "redelivered", "skipped", "lost",
		"owner died"}[k]
}

// level returns how bad it is.
func (k Kind) level() slog.Level {
	if k == Reclaimed || k == Recovered {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// A Note is something that has happened.
type Note struct {
	Kind    Kind
	What    string // the thing, in a word; one of a few
	Segment string // name
	Count   uint64 // how many things
	PID     int    // of the process that died, 0 if it is not known

	time time.Time // of the first of them
}

// Notes are those of one opening of a segment. A nil *Notes ignores all.
type Notes struct {
	logger *slog.Logger

	mu      sync.Mutex
	pending []Note // not logged yet, at most one of a kind and thing; guarded by mu
	running bool   // a goroutine logs; guarded by mu
}

// New returns Notes for a logger; nil if it is nil.
func New(logger *slog.Logger) *Notes {
	if logger == nil {
		return nil
	}
	return &Notes{logger: logger}
}

// Add makes a goroutine log a note. While the logger is busy, notes of one kind, thing and segment
// become one, with the sum of their counts; so a slow logger costs no memory. Their PID is 0 unless
// it is the same.
func (n *Notes) Add(note Note) {
	if n == nil || note.Count == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.pending {
		p := &n.pending[i]
		if p.Kind == note.Kind && p.What == note.What && p.Segment == note.Segment {
			p.Count += note.Count
			if p.PID != note.PID {
				p.PID = 0
			}
			return
		}
	}
	note.time = time.Now()
	if len(n.pending) < most {
		n.pending = append(n.pending, note)
	}
	if !n.running {
		n.running = true
		go n.run()
	}
}

// most bounds the notes that wait. Only reclaimed ones can be more: of many segments at once.
const most = 1000

// run logs what is pending, until there is nothing.
func (n *Notes) run() {
	for {
		n.mu.Lock()
		all := n.pending
		n.pending = nil
		n.running = len(all) > 0
		n.mu.Unlock()
		if len(all) == 0 {
			return
		}
		for _, note := range all {
			n.log(note)
		}
	}
}

func (n *Notes) log(note Note) {
	ctx, level := context.Background(), note.Kind.level()
	if !n.logger.Enabled(ctx, level) {
		return
	}
	r := slog.NewRecord(note.time, level, "shmem: "+note.Kind.String(), 0)
	r.AddAttrs(slog.String("segment", note.Segment), slog.String("what", note.What),
		slog.Uint64("count", note.Count))
	if note.PID != 0 {
		r.AddAttrs(slog.Int("pid", note.PID))
	}
	_ = n.logger.Handler().Handle(ctx, r)
}
