package blob

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/mem"
	"github.com/shmembox/shmem/internal/pool"
)

// A Buffer is a share of a buffer of a pool. Its methods are safe for concurrent use. It is held
// until Close or HandOver, whether or not the program still has a pointer to it.
//
// The process that holds the only share can write. A buffer with several shares can only be read.
type Buffer struct {
	p   *Pool
	ref pool.Ref
	at  int // offset of the bytes in the payload

	length atomic.Int64
	// uses counts calls that use the bytes. HandOver adds handing while it tries. Close adds
	// closing, and the last call that leaves ends the share and makes it ended.
	uses atomic.Int64
}

const (
	handing = 1 << 40
	closing = 1 << 41
	ended   = 1 << 42
)

func (p *Pool) buffer(r pool.Ref, n int) *Buffer {
	b := &Buffer{p: p, ref: r, at: p.offset(r.Buffer)}
	b.length.Store(int64(n))
	return b
}

// enter pins the bytes for a call.
func (b *Buffer) enter() error {
	if b.uses.Add(1) >= handing {
		b.leave()
		return errBufferClosed
	}
	if !b.p.at.M.Pin() {
		b.leave()
		return errPoolClosed
	}
	return nil
}

// exit ends what enter began.
func (b *Buffer) exit() {
	b.leave()
	b.p.at.M.Unpin()
}

// leave ends a use.
func (b *Buffer) leave() {
	if b.uses.Add(-1) == closing && b.uses.CompareAndSwap(closing, ended) {
		b.end()
	}
}

// end ends the share. It is called once.
func (b *Buffer) end() {
	if b.p.at.M.Pin() { // else the share has ended with the attachment
		b.p.leave(b.ref)
		b.p.at.M.Unpin()
	}
}

// Close gives the share back. If a call uses the bytes they are given back when it returns; new
// calls return shmem.ErrClosed at once. After HandOver, and after another Close, Close does
// nothing. It never fails.
func (b *Buffer) Close() error {
	for {
		n := b.uses.Load()
		switch {
		case n >= closing:
			return nil
		case n >= handing:
			runtime.Gosched() // HandOver does not wait
		case b.uses.CompareAndSwap(n, n+closing):
			if n == 0 && b.uses.CompareAndSwap(closing, ended) {
				b.end()
			}
			return nil
		}
	}
}

// Len returns the number of bytes.
func (b *Buffer) Len() int { return int(b.length.Load()) }

// Cap returns the most bytes that the buffer can have.
func (b *Buffer) Cap() int { return b.p.l.ClassOf(b.ref.Buffer).Size }

// SetLen sets the number of bytes, 0 to Cap. Bytes that are added have any value. The errors are
// ErrTooLarge, ErrShared and shmem.ErrClosed.
func (b *Buffer) SetLen(n int) error {
	return b.change("set length", func() error {
		if n < 0 || n > b.Cap() {
			return tooLarge(n, b.Cap())
		}
		b.p.lengths[b.ref.Buffer].Store(uint64(n))
		b.length.Store(int64(n))
		return nil
	})
}

func tooLarge(n, most int) error {
	return fmt.Errorf("%w: %d bytes, it can have 0 to %d", ErrTooLarge, n, most)
}

// change calls f if the caller has the only share.
func (b *Buffer) change(op string, f func() error) error {
	if err := b.enter(); err != nil {
		return b.p.fail(op, err)
	}
	defer b.exit()
	if !b.p.p.Alone(b.ref) {
		return b.p.fail(op, errShared)
	}
	return b.p.fail(op, f())
}

// bytes returns the bytes, in shared memory. The mapping is pinned.
func (b *Buffer) bytes() []byte {
	n := b.Len()
	return b.p.at.M.Payload()[b.at : b.at+n : b.at+n]
}

// ReadAt copies bytes from off on to dst. It is io.EOF if there are fewer than len(dst).
func (b *Buffer) ReadAt(dst []byte, off int64) (int, error) {
	if err := b.enter(); err != nil {
		return 0, b.p.fail("read", err)
	}
	defer b.exit()
	all := b.bytes()
	if off < 0 {
		return 0, b.p.fail("read", errNegative)
	}
	if off >= int64(len(all)) {
		return 0, io.EOF
	}
	n := min(len(dst), len(all)-int(off))
	mem.Copy(dst[:n], all[off:int(off)+n])
	if n < len(dst) {
		return n, io.EOF
	}
	return n, nil
}

var errNegative = errors.New("the offset is negative")

// Append appends a copy of the bytes to dst, and returns the extended slice.
func (b *Buffer) Append(dst []byte) ([]byte, error) {
	if err := b.enter(); err != nil {
		return dst, b.p.fail("append", err)
	}
	defer b.exit()
	return append(dst, b.bytes()...), nil
}

// WriteTo writes the bytes to w, from where they are in shared memory.
func (b *Buffer) WriteTo(w io.Writer) (n int64, err error) {
	err = b.View(func(all []byte) error {
		written, err := w.Write(all)
		n = int64(written)
		return err
	})
	return n, err
}

// WriteAt copies src to the bytes from off on. If it does not fit before Len nothing is written,
// and it is ErrTooLarge. The other errors are ErrShared and shmem.ErrClosed.
func (b *Buffer) WriteAt(src []byte, off int64) (n int, err error) {
	err = b.change("write", func() error {
		all := b.bytes()
		switch {
		case off < 0:
			return errNegative
		case off > int64(len(all)) || len(src) > len(all)-int(off):
			return fmt.Errorf("%w: %d bytes at %d, it has %d", ErrTooLarge, len(src), off, len(all))
		}
		mem.Copy(all[off:int(off)+len(src)], src)
		n = len(src)
		return nil
	})
	return n, err
}

// View calls f with the bytes in shared memory, which f must not change, and must not use after it
// has returned. It returns the error of f.
func (b *Buffer) View(f func(all []byte) error) error {
	if err := b.enter(); err != nil {
		return b.p.fail("view", err)
	}
	defer b.exit()
	b.p.at.M.MarkExposed()
	return f(b.bytes())
}

// Update calls f with the bytes in shared memory, which f may change, but not use after it has
// returned. It returns the error of f. It is ErrShared if there is another share; a process that
// resolves a handle while f runs may read what is half written.
func (b *Buffer) Update(f func(all []byte) error) error {
	if err := b.enter(); err != nil {
		return b.p.fail("update", err)
	}
	defer b.exit()
	if !b.p.p.Alone(b.ref) {
		return b.p.fail("update", errShared)
	}
	b.p.at.M.MarkExposed()
	return f(b.bytes())
}

// Lend returns the bytes in shared memory, for use until the caller calls done. To call done again
// does nothing. The caller must not change the bytes, unless it has the only share. After done they
// must not be used: the memory gets the bytes of later uses of the buffer.
//
// Lend keeps the share and the mapping: Close ends the share when done is called, HandOver returns
// ErrShared, and Pool.Close waits for done. The error is shmem.ErrClosed.
func (b *Buffer) Lend() (all []byte, done func(), err error) {
	if err := b.enter(); err != nil {
		return nil, nil, b.p.fail("lend", err)
	}
	b.p.at.M.MarkExposed()
	return b.bytes(), sync.OnceFunc(b.exit), nil
}

// Handle returns a handle of the buffer, while the caller keeps its share. It can be resolved any
// number of times, as long as the buffer has a share. It stands for the bytes as they are later: it
// is best to write before. After Close or HandOver it is a stale one.
func (b *Buffer) Handle() Handle {
	return Handle{
		pool: b.p.id, gen: b.ref.Gen, length: uint64(b.Len()), buffer: uint32(b.ref.Buffer),
	}
}

// HandOver ends the share of the caller, and returns a handle that has it. The handle can be
// resolved once, until lease has passed: then the share is lost. A lease of 0 is DefaultLease. The
// share outlives this process.
//
// The errors are ErrShared while another call uses this Buffer, ErrNoShare, shmem.ErrBadOption for
// a lease that is negative or longer than MaxLease, and shmem.ErrClosed. After an error the caller
// has its share as before.
func (b *Buffer) HandOver(lease time.Duration) (Handle, error) {
	h, err := b.handOver(lease)
	return h, b.p.fail("hand over", err)
}

func (b *Buffer) handOver(lease time.Duration) (Handle, error) {
	if lease < 0 || lease > MaxLease {
		return Handle{}, fmt.Errorf("%w: the lease is %v; it must be 0 to %v", shmem.ErrBadOption,
			lease, MaxLease)
	}
	if lease == 0 {
		lease = DefaultLease
	}
	if !b.uses.CompareAndSwap(0, handing) {
		if b.uses.Load() >= handing {
			return Handle{}, errBufferClosed
		}
		return Handle{}, errInUse
	}
	h, err := b.flight(lease)
	if err != nil {
		b.uses.Add(-handing)
		return Handle{}, err
	}
	b.uses.Add(ended - handing)
	return h, nil
}

// flight turns the share into one in flight.
func (b *Buffer) flight(lease time.Duration) (Handle, error) {
	if !b.p.at.M.Pin() {
		return Handle{}, errPoolClosed
	}
	defer b.p.at.M.Unpin()
	h := b.Handle()
	h.ticket = rand.Uint32() >> 1
	left := uint32((lease + time.Millisecond - 1) / time.Millisecond)
	share, err := b.p.p.HandOver(b.ref, h.ticket, nowMS()+left)
	h.gen |= uint64(share+1) << genBits
	return h, err
}
