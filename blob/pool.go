package blob

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/notes"
	"github.com/shmembox/shmem/internal/pool"
	"github.com/shmembox/shmem/internal/stream"
	"github.com/shmembox/shmem/internal/sys"
	"github.com/shmembox/shmem/internal/wait"
)

// A Pool is some buffers in shared memory. Its methods are safe for concurrent use, by any number
// of processes. A function that the caller passes to a method returns its error as it is; all other
// errors are a *shmem.Error.
type Pool struct {
	at      stream.Attachment
	l       *layout.Pool
	p       *pool.Pool
	header  *pool.Header
	lengths []atomic.Uint64
	id      uint64
	last    []atomic.Int32 // by class, the buffer that was freed last
	full    error          // of TryTake, made once
}

// Open attaches to the pool of that name, or creates it if there is none. The errors are those of
// shmem.Open; a segment that is no pool is shmem.ErrMismatch.
func Open(name string, opts *Options) (*Pool, error) { return open(name, stream.Open, opts) }

// Create creates a pool. It returns fs.ErrExist if there is a segment of that name.
func Create(name string, opts *Options) (*Pool, error) { return open(name, stream.Create, opts) }

// Attach attaches to the pool of that name. It returns fs.ErrNotExist if there is none.
func Attach(name string, opts *Options) (*Pool, error) { return open(name, stream.Attach, opts) }

// AttachWait is Attach, but waits until there is a pool of that name that can be attached to, or
// until ctx is done. It returns other errors at once; see shmem.AttachWait.
func AttachWait(ctx context.Context, name string, opts *Options) (p *Pool, err error) {
	if opts == nil {
		opts = new(Options)
	}
	err = plan(name, stream.Attach, opts).AttachWait(ctx, func() error {
		p, err = Attach(name, opts)
		return err
	})
	return p, err
}

func plan(name string, mode stream.Mode, o *Options) *stream.Plan {
	return &stream.Plan{
		Op: "blob " + string(mode), Name: name, Mode: mode, Kind: layout.PoolName,
		Options: o.segment(),
	}
}

func open(name string, mode stream.Mode, opts *Options) (*Pool, error) {
	if opts == nil {
		opts = new(Options)
	}
	plan := plan(name, mode, opts)
	fresh, err := opts.layout()
	if err != nil {
		return nil, plan.Error(err)
	}
	plan.New = func(int) (*format.Type, error) { return fresh.Type, nil }
	plan.Like = func(stored, _ *format.Type) (*format.Type, error) {
		l, err := layout.PoolOf(stored)
		if err != nil {
			return nil, err
		}
		return stored, opts.check(l)
	}
	seg, mapping, t, err := plan.Open()
	if err != nil {
		return nil, err
	}
	p := new(Pool)
	if err := p.bind(seg, mapping, t); err != nil {
		_ = seg.Close()
		return nil, plan.Error(err)
	}
	return p, nil
}

// bind lays p over the mapping of a segment.
func (p *Pool) bind(seg *shmem.Segment, m *mem.Mapping, t *format.Type) (err error) {
	if p.l, err = layout.PoolOf(t); err != nil {
		return err
	}
	p.at.Init(seg, m)
	id := p.at.SegmentID()
	p.id = binary.LittleEndian.Uint64(id[:])
	p.last = make([]atomic.Int32, len(p.l.Classes))
	p.full = &shmem.Error{Op: "blob take", Name: seg.Name(), Err: errFull}
	var parts pool.Parts
	p.p, parts, p.lengths, err = stream.PoolIn(m, p.l)
	p.header = parts.Header
	return err
}

// fail returns the error of an operation.
func (p *Pool) fail(op string, err error) error {
	switch err {
	case nil:
		return nil
	case errFull:
		return p.full
	case pool.ErrStale:
		err = errStale
	case pool.ErrNoShare:
		err = errNoShare
	case shmem.ErrClosed:
		err = errPoolClosed
	}
	return &shmem.Error{Op: "blob " + op, Name: p.at.Segment.Name(), Err: err}
}

// ID returns the random number that the pool got when it was created. Its handles carry it.
func (p *Pool) ID() uint64 { return p.id }

// MaxLen returns the size of the largest buffer in bytes.
func (p *Pool) MaxLen() int { return p.l.Classes[len(p.l.Classes)-1].Size }

// Take takes a free buffer for n bytes, and blocks while there is none. The caller alone has a
// share of it. The bytes are those of former uses until they are written. Take prefers the smallest
// buffer that is large enough.
//
// The errors are the context's, ErrTooLarge for more than MaxLen, shmem.ErrReadOnly and
// shmem.ErrClosed. A buffer whose holders have died is found after at most 100 ms.
func (p *Pool) Take(ctx context.Context, n int) (*Buffer, error) {
	b, err := p.take(ctx, n, false)
	return b, p.fail("take", err)
}

// TryTake is Take that returns ErrFull where Take would block.
func (p *Pool) TryTake(n int) (*Buffer, error) {
	b, err := p.take(stream.Try{}, n, true)
	return b, p.fail("take", err)
}

// take is Take or TryTake.
func (p *Pool) take(ctx context.Context, n int, try bool) (*Buffer, error) {
	class, err := p.classFor(n)
	if err != nil {
		return nil, err
	}
	if err := p.at.Enter(); err != nil {
		return nil, err
	}
	defer p.at.M.Unpin()
	from := p.l.Classes[class].First
	for tries := 0; ; tries++ {
		if r, ok := p.takeFree(class); ok {
			p.lengths[r.Buffer].Store(uint64(n))
			return p.buffer(r, n), nil
		}
		if tries == 0 && (!try || p.at.RepairDue()) && p.sweep() > 0 {
			continue
		}
		if try {
			return nil, errFull
		}
		if err := errs.Context(ctx); err != nil {
			return nil, err
		}
		if tries > stream.Patience { // only where a process has scribbled over shares
			p.sweep()
			time.Sleep(time.Millisecond)
		}
		err := wait.Until(ctx, p.at.M, &p.header.Armed,
			func() bool { return p.p.AnyFree(from, p.l.Buffers) },
			wait.Options{Probe: func() bool { return p.sweep() > 0 }, Watch: p.holders(from)})
		if err != nil {
			return nil, err
		}
	}
}

// classFor returns the number of the smallest class that is large enough.
func (p *Pool) classFor(n int) (int, error) {
	if n >= 0 {
		for i := range p.l.Classes {
			if n <= p.l.Classes[i].Size {
				return i, nil
			}
		}
	}
	return 0, tooLarge(n, p.MaxLen())
}

// takeFree takes a buffer of that class, or of a larger one.
func (p *Pool) takeFree(class int) (pool.Ref, bool) {
	for ; class < len(p.l.Classes); class++ {
		c := &p.l.Classes[class]
		start := int(p.last[class].Load())
		if r, ok := p.p.Take(p.at.Self, c.First, c.First+c.Count, start); ok {
			p.last[class].Store(int32(r.Buffer + 1))
			return r, true
		}
	}
	return pool.Ref{}, false
}

// maxWatched bounds how many holders a call watches that waits.
const maxWatched = 16

// holders returns attachments that hold buffers from that one on, for wait.Options.
func (p *Pool) holders(from int) (list []format.ID) {
	seen := map[uint32]bool{p.at.Self: true, 0: true}
	for i := from; i < p.l.Buffers; i++ {
		for k := range p.p.Each() {
			if s := p.p.Share(i, k); !s.Flies() && !seen[s.ID()] {
				seen[s.ID()] = true
				list = append(list, format.ID(s.ID()))
			}
		}
		if len(list) >= maxWatched {
			break
		}
	}
	return list
}

// Resolve returns the buffer of a handle. The caller has a share of it then, and closes it. If the
// buffer was handed over, the share is that of the handle, which no other process can resolve from
// then on.
//
// The errors are ErrStale, ErrOtherPool, ErrNoShare, shmem.ErrReadOnly and shmem.ErrClosed.
func (p *Pool) Resolve(h Handle) (*Buffer, error) {
	b, err := p.resolve(h)
	return b, p.fail("resolve", err)
}

func (p *Pool) resolve(h Handle) (*Buffer, error) {
	if err := p.at.Enter(); err != nil {
		return nil, err
	}
	defer p.at.M.Unpin()
	if err := p.check(h); err != nil {
		return nil, err
	}
	i, gen := int(h.buffer), h.gen&(1<<genBits-1)
	var r pool.Ref
	var err error
	if share, ok := h.flight(); ok {
		r, err = p.p.Accept(p.at.Self, i, share, gen, h.ticket)
	} else {
		r, err = p.p.Join(p.at.Self, i, gen)
	}
	if err != nil {
		return nil, err
	}
	if p.check(h) != nil { // it may have been a later use of the buffer before
		p.leave(r)
		return nil, errStale
	}
	return p.buffer(r, h.Len()), nil
}

// check checks what a handle says of the pool, and of the length of the buffer. The mapping is
// pinned.
func (p *Pool) check(h Handle) error {
	switch {
	case h.pool != p.id && !h.IsZero():
		return errOtherPool
	case h.pool != p.id || uint64(h.buffer) >= uint64(p.l.Buffers):
		return errStale
	}
	i := int(h.buffer)
	if n := p.lengths[i].Load(); h.length > n || n > uint64(p.l.ClassOf(i).Size) {
		return errStale
	}
	return nil
}

// Append appends a copy of the bytes that a handle stands for to dst, and returns the extended
// slice. It takes no share, and works without the right to write. It returns dst as it was with
// ErrStale, ErrOtherPool or shmem.ErrClosed. What is written at the same time may be copied in
// part.
func (p *Pool) Append(dst []byte, h Handle) ([]byte, error) {
	if !p.at.M.Pin() {
		return dst, p.fail("append", shmem.ErrClosed)
	}
	defer p.at.M.Unpin()
	if err := p.check(h); err != nil {
		return dst, p.fail("append", err)
	}
	i, gen := int(h.buffer), h.gen&(1<<genBits-1)
	if s := p.p.Load(i); !s.Taken() || s.Gen() != gen {
		return dst, p.fail("append", errStale)
	}
	all := append(dst, make([]byte, h.Len())...)
	p.at.M.Load(all[len(dst):], p.offset(i))
	// The state is loaded after all bytes.
	if s := p.p.Load(i); !s.Taken() || s.Gen() != gen || p.check(h) != nil {
		return dst, p.fail("append", errStale)
	}
	return all, nil
}

// offset returns where the bytes of a buffer are in the payload.
func (p *Pool) offset(i int) int {
	c := p.l.ClassOf(i)
	return c.At + (i-c.First)*c.Size
}

// leave ends a share. The mapping is pinned.
func (p *Pool) leave(r pool.Ref) {
	if !p.p.Leave(r) {
		return
	}
	for class := range p.l.Classes {
		c := &p.l.Classes[class]
		if r.Buffer >= c.First && r.Buffer < c.First+c.Count {
			p.last[class].Store(int32(r.Buffer)) // it is in the cache of this processor
		}
	}
	wait.Wake(p.at.M, &p.header.Armed)
}

// Sweep removes the shares of processes that have died and those that were handed over and whose
// time has passed. It returns how many buffers are free now by that. Take does the same when no
// buffer is free. The errors are shmem.ErrReadOnly and shmem.ErrClosed.
func (p *Pool) Sweep() (freed int, err error) {
	if err := p.at.Enter(); err != nil {
		return 0, p.fail("sweep", err)
	}
	defer p.at.M.Unpin()
	return p.sweep(), nil
}

// sweep is Sweep. The mapping is pinned.
func (p *Pool) sweep() int {
	alive, died := p.at.M.Noted(p.at.AliveOnce())
	n := p.p.Sweep(alive, nowMS())
	if n.Freed > 0 {
		wait.Wake(p.at.M, &p.header.Armed)
	}
	if n.Dead > 0 {
		p.at.M.Note(notes.Recovered, "buffer", uint64(n.Dead), *died)
	}
	return n.Freed
}

// nowMS is the clock of deadlines, which is the same in all processes.
func nowMS() uint32 { return uint32(sys.Uptime(time.Now()) / time.Millisecond) }

// Stats say what a pool has, and what it has done since it was created.
type Stats struct {
	Classes  []ClassStats
	InFlight int    // shares that were handed over and not resolved yet
	Dead     uint64 // shares of processes that died, which were removed
	Expired  uint64 // shares that were handed over and not resolved in time
}

// ClassStats say what the buffers of one size do.
type ClassStats struct {
	Size  int // of a buffer in bytes
	Count int // how many buffers there are
	Used  int // of these, the ones that are taken; those of dead processes count until a Sweep
	Taken uint64
}

// Stats returns the counters of the pool. They are exact while no process uses it, and zero after
// Close.
func (p *Pool) Stats() (s Stats) {
	if !p.at.M.Pin() {
		return s
	}
	defer p.at.M.Unpin()
	for i := range p.l.Classes {
		c := &p.l.Classes[i]
		is := ClassStats{Size: c.Size, Count: c.Count}
		for b := c.First; b < c.First+c.Count; b++ {
			state := p.p.Load(b)
			is.Taken += state.Gen()
			if state.Taken() {
				is.Used++
			}
			for k := range p.p.Each() {
				if p.p.Share(b, k).Flies() {
					s.InFlight++
				}
			}
		}
		s.Classes = append(s.Classes, is)
	}
	s.Dead, s.Expired = p.header.Dead.Load(), p.header.Expired.Load()
	return s
}

// Segment returns the pool's segment.
func (p *Pool) Segment() *shmem.Segment { return p.at.Segment }

// Name returns the name of the pool.
func (p *Pool) Name() string { return p.at.Segment.Name() }

// Linked reports whether the name still leads to this pool; see shmem.Segment.Linked.
func (p *Pool) Linked() bool { return p.at.Segment.Linked() }

// Unlinked returns a channel that is closed when the name no longer leads to this pool; see
// shmem.Segment.Unlinked.
func (p *Pool) Unlinked() <-chan struct{} { return p.at.Segment.Unlinked() }

// Owned reports whether this attachment owns the pool; see shmem.Segment.Owned.
func (p *Pool) Owned() bool { return p.at.Segment.Owned() }

// Own makes this attachment the owner; see shmem.Segment.Own.
func (p *Pool) Own() error { return p.at.Segment.Own() }

// Close ends the attachment; see shmem.Segment.Close. It waits for callbacks that run. Calls that
// wait, and later ones, return shmem.ErrClosed. The shares of all its Buffers end with it: other
// processes remove them as those of a dead process.
func (p *Pool) Close() error { return p.at.Segment.Close() }

// Leak ends the attachment and leaves the pool kept; see shmem.Segment.Leak.
func (p *Pool) Leak() error { return p.at.Segment.Leak() }
