package calls_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// The floors are calls by hand. "exchange" are two processes that spin. "futex" has a slot for each
// caller, which sleeps in the kernel until its reply is there, and a server that sleeps when no
// request is there: with 1 MiB it is little more than the three copies of a call. "channel" is the
// same for goroutines: a caller waits at a channel, and one goroutine of the process sleeps in the
// kernel for all of them. All of them notice no death, no end of a context and no Close, have no
// other server or client, no metadata and no errors, and know the size of requests.

// lines are the request and the reply of the exchange.
type lines struct {
	Asked   atomic.Uint64
	Request [64]byte
	_       [56]byte
	Replied atomic.Uint64
	Reply   [64]byte
	_       [56]byte
}

// spinner replies by hand.
func spinner(c *shmemtest.Conn) error {
	box, err := shmem.Attach[lines]("l", &shmem.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	v := box.Value()
	c.Send("ready")
	for last := uint64(0); ; {
		if n := v.Asked.Load(); n != last {
			last = n
			v.Reply = v.Request
			v.Replied.Store(n)
		}
	}
}

// exchange measures the exchange. It needs two processors that do nothing else.
func exchange(b *testing.B) {
	dir := shmemtest.Dir(b)
	box, err := shmem.Create[lines]("l", &shmem.Options{Dir: dir})
	check(b, err)
	defer box.Close()
	s := shmemtest.Start(b, "spinner", dir)
	defer s.Kill()
	s.Expect(b, "ready")
	v, n := box.Value(), uint64(0)
	reply := make([]byte, len(v.Reply))
	measure(b, s.Pid(), len(v.Request), []caller{func(q []byte) error {
		n++
		copy(v.Request[:], q)
		v.Asked.Store(n)
		for tries := 1; v.Replied.Load() != n; tries++ {
			if tries%1000 == 0 {
				runtime.Gosched()
			}
		}
		copy(reply, v.Reply[:])
		return nil
	}})
}

const (
	handCallers = 32

	asked   = 1
	replied = 2
)

// A handSlot is that of one caller, with A for the request and for the reply.
type handSlot[A any] struct {
	State    atomic.Uint32
	Sleeping atomic.Uint32
	Size     atomic.Uint32
	_        [116]byte
	Request  A
	Reply    A
}

type handTable[A any] struct {
	Bell     atomic.Uint32 // of the server
	Sleeping atomic.Uint32
	_        [120]byte
	Replies  atomic.Uint32 // bell of the client of "channel"
	Waiting  atomic.Uint32
	Channel  atomic.Uint32 // not 0: the replies are for "channel"
	_        [116]byte
	Slots    [handCallers]handSlot[A]
}

type (
	small = [4 << 10]byte
	large = [1 << 20]byte
)

// bytesOf returns the first n bytes of a request or reply.
func bytesOf[A any](p *A, n int) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(p)), n) }

func futexWait(w *atomic.Uint32, is uint32) {
	const op = 0 // FUTEX_WAIT
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), op, uintptr(is), 0, 0, 0)
}

func futexWake(w *atomic.Uint32) {
	const op = 1 // FUTEX_WAKE
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), op, 1, 0, 0, 0)
}

// handServer replies to all slots. Its arguments are the directory and whether requests are large.
func handServer(c *shmemtest.Conn) error {
	if c.Args()[1] == "large" {
		return serveByHand[large](c)
	}
	return serveByHand[small](c)
}

func serveByHand[A any](c *shmemtest.Conn) error {
	box, err := shmem.Attach[handTable[A]]("f", &shmem.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	t := box.Value()
	c.Send("ready")
	for {
		bell, worked := t.Bell.Load(), false
		for i := range t.Slots {
			s := &t.Slots[i]
			if s.State.Load() != asked {
				continue
			}
			worked = true
			n := int(s.Size.Load())
			copy(bytesOf(&s.Reply, n), bytesOf(&s.Request, n))
			s.State.Store(replied)
			if s.Sleeping.Load() != 0 {
				futexWake(&s.State)
			}
		}
		if worked {
			if t.Channel.Load() != 0 {
				t.Replies.Add(1)
				if t.Waiting.Load() != 0 {
					futexWake(&t.Replies)
				}
			}
			continue
		}
		t.Sleeping.Store(1)
		futexWait(&t.Bell, bell)
		t.Sleeping.Store(0)
	}
}

// byHand measures so many callers of "futex", or of "channel".
func byHand[A any](b *testing.B, size, callers int, channel bool) {
	dir := shmemtest.Dir(b)
	box, err := shmem.Create[handTable[A]]("f", &shmem.Options{Dir: dir})
	check(b, err)
	defer box.Close()
	kind := "small"
	if size > len(small{}) {
		kind = "large"
	}
	s := shmemtest.Start(b, "handServer", dir, kind)
	defer s.Kill()
	s.Expect(b, "ready")
	t := box.Value()
	var deliver func(i int)
	if channel {
		t.Channel.Store(1)
		var stop func()
		deliver, stop = t.collect()
		defer stop()
	}
	var all []caller
	for i := range callers {
		slot, reply := &t.Slots[i], make([]byte, size)
		all = append(all, func(q []byte) error {
			copy(bytesOf(&slot.Request, size), q)
			slot.Size.Store(uint32(size))
			slot.State.Store(asked)
			t.Bell.Add(1)
			if t.Sleeping.Load() != 0 {
				futexWake(&t.Bell)
			}
			if channel {
				deliver(i)
			} else {
				for slot.State.Load() != replied {
					slot.Sleeping.Store(1)
					futexWait(&slot.State, asked)
					slot.Sleeping.Store(0)
				}
			}
			copy(reply, bytesOf(&slot.Reply, size))
			return nil
		})
	}
	measure(b, s.Pid(), size, all)
}

// collect begins to hand replies to channels. deliver waits for the reply of a slot.
func (t *handTable[A]) collect() (deliver func(i int), stop func()) {
	var channels [handCallers]chan struct{}
	for i := range channels {
		channels[i] = make(chan struct{}, 1)
	}
	var over atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !over.Load() {
			bell, worked := t.Replies.Load(), false
			for i := range t.Slots {
				if t.Slots[i].State.CompareAndSwap(replied, 0) {
					worked = true
					channels[i] <- struct{}{}
				}
			}
			if worked {
				continue
			}
			t.Waiting.Store(1)
			futexWait(&t.Replies, bell)
			t.Waiting.Store(0)
		}
	}()
	deliver = func(i int) { <-channels[i] }
	return deliver, func() {
		over.Store(true)
		t.Replies.Add(1)
		futexWake(&t.Replies)
		<-ended
	}
}
