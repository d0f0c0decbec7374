//go:build linux

package main

import (
	"fmt"
	"os"
	"sync/atomic"

	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/sys"
)

// The audit page is memory that every worker shares with the parent. It records what each worker is
// attached to, and what was done to each segment. It is not a segment of the library.
//
// The checks are sound. A worker records what it is about to do before it does it, and withdraws
// the record of what it holds before it ends it, so that a death in between never looks like a
// fault. What is not certain is not counted.

const (
	maxWorkers  = 64
	maxNames    = 16
	maxSegments = 1 << 22
	depths      = 3 // attachments of one worker at a time
)

type violation int

const (
	uninitialised violation = iota
	twoCreators
	vanished
	lostKept
	twoOwners
	notOwner
	doubleDrop
	strangeDrop
	dutyUndone
	undropped
	lostMessage
	leaked
	hung
	unexpected
	violations
)

var violationNames = [violations]string{
	"value uninitialised or torn", "two creators of one name",
	"name of a live segment gone or elsewhere",
	"kept segment lost", "two owners", "owner without owning, or not owner", "value dropped twice",
	"value dropped that another owns or that is kept", "owner's Close without Drop or unlink",
	"value never dropped although all have closed", "message lost",
	"left at the end", "hung", "unexpected error or end",
}

// A holding records one attachment. Only its worker writes it.
type holding struct {
	id    atomic.Uint64 // of the segment; written last, cleared first
	name  atomic.Uint64
	epoch atomic.Uint64 // removals of the name that had begun before it was attached
	quiet atomic.Uint64 // 1: none of those removals was still going on
	own   atomic.Uint64 // id if it owns the segment; written after owns
	owns  atomic.Uint64 // calls of Own that had begun by then
}

// ownsNow reports whether the attachment owns the segment s of an id, owns calls of Own having
// begun. The owner is read twice, and the calls last, so that a record that changes meanwhile does
// not count.
func (h *holding) ownsNow(s *segment, id, owns uint64) bool {
	return h.own.Load() == id && h.owns.Load() == owns && h.own.Load() == id &&
		uint64(s.owns.Load()) == owns
}

// A record is that of one worker.
type record struct {
	doomed   atomic.Uint64 // 1: about to be killed
	beat     atomic.Uint64 // cycles of this life
	killMe   atomic.Uint64 // 1: waits to be killed by the parent
	removing atomic.Uint64 // name+1, during Remove
	owning   atomic.Uint64 // segment, during Own
	born     atomic.Uint64 // 1: it runs
	at       [depths]holding
	_        [8]uint64
}

// A segment records what was done to one segment. Its index is the id that stands in the value.
type segment struct {
	drops, ended, owns, kept, keptEpoch atomic.Uint32
	name                                atomic.Uint32
	published                           atomic.Uint32 // 1: Open or Create has returned it
}

// A message has an id like a segment, and the record of one.
func (s *segment) sent() *atomic.Uint32     { return &s.published } // 1: Send has returned nil
func (s *segment) received() *atomic.Uint32 { return &s.drops }     // how often

type audit struct {
	violations [violations]atomic.Uint64
	counts     [counters]atomic.Uint64
	cfg        config
	ids        atomic.Uint64           // the last id that was given to a segment
	quiet      atomic.Uint64           // 1: no more deaths
	stop       atomic.Uint64           // 1: all workers leave
	removals   [maxNames]atomic.Uint64 // calls of Remove that have begun
	kept       [maxNames]atomic.Uint64 // the last segment that was left kept
	workers    [maxWorkers]record
}

// shared is the audit page and the table of all segments behind it.
type shared struct {
	*audit
	segments []segment
}

type counter int

const (
	cycles counter = iota
	created
	attached
	selfKills
	initFails
	drops
	nestedOpens
	owned
	leakedOn
	removed
	reclaimed
	busy
	full
	noSpace
	exits
	links
	fromFiles
	rawBoxes
	sends
	receives
	counters
)

var counterNames = [counters]string{
	"cycles", "created", "attached", "self-kills", "failed Inits", "drops", "opens in Drop", "Own",
	"Leak", "Remove", "reclaimed", "ErrBusy", "ErrNoSlot", "ErrNoSpace", "exits without Close",
	"hard links", "FromFile", "BoxOf", "messages sent", "messages received",
}

// config is what the parent tells the workers. It lies in the audit page, so all fields are
// numbers.
type config struct {
	names   int64
	raw     int64 // so many of the names hold untyped segments
	chance  int64 // one in so many steps is the last
	temp    int64 // percent of the workers that avoid nameless files
	remove  int64 // percent of the cycles that are a Remove, at odd names
	timeout int64 // Options.Timeout, in nanoseconds
	payload int64 // spare bytes in each value, where memory is short
	scarce  int64 // 1: ErrNoSpace is expected
	links   int64 // 1: files get second names
	reader  int64 // the last so many workers run as another user, which may only read
	seed    int64

	lifetime int64 // of the segments; 0: each name has its own
	polite   int64 // 1: no worker dies, and each attachment can drop
	queues   int64 // 1: the names are queues
}

func openAudit(path string, create bool) (*shared, error) {
	head := (mem.SizeOf[audit]() + 4095) &^ 4095
	n := head + maxSegments*mem.SizeOf[segment]()
	if create {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return nil, err
		}
		if err := os.Truncate(path, int64(n)); err != nil {
			return nil, err
		}
		if err := os.Chmod(path, 0o666); err != nil {
			return nil, err
		}
	}
	f, err := sys.Open(path, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m, err := mem.Map(mem.Spec{File: f, Payload: n, Length: n, Write: true})
	if err != nil {
		return nil, err
	}
	a, err := mem.At[audit](m, 0)
	if err != nil {
		return nil, err
	}
	s, err := mem.SliceAt[segment](m, head, maxSegments)
	return &shared{a, s}, err
}

func (a *audit) count(c counter) { a.counts[c].Add(1) }

// removing returns how many removals of a name have begun; quiet reports whether none is going on.
func (a *audit) removing(name int) (epoch uint64, quiet bool) {
	epoch = a.removals[name].Load()
	for i := range a.workers {
		if a.workers[i].removing.Load() == uint64(name)+1 {
			return epoch, false
		}
	}
	return epoch, true
}

// owning returns how many calls of Own on a segment have begun; quiet reports whether none is going
// on.
func (a *shared) owning(id uint64) (n uint64, quiet bool) {
	n = uint64(a.segments[id].owns.Load())
	for i := range a.workers {
		if a.workers[i].owning.Load() == id {
			return n, false
		}
	}
	return n, true
}

// reset clears the record of a worker that has ended.
func (r *record) reset() {
	for i := range r.at {
		r.at[i].own.Store(0)
		r.at[i].id.Store(0)
	}
	r.removing.Store(0)
	r.owning.Store(0)
	r.killMe.Store(0)
	r.beat.Store(0)
	r.born.Store(0)
	r.doomed.Store(0)
}
