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
// request is there. They notice no death, and know the size of requests.

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
	futexCallers = 32
	futexLargest = 4 << 10

	asked   = 1
	replied = 2
)

// A futexSlot is that of one caller.
type futexSlot struct {
	State    atomic.Uint32
	Sleeping atomic.Uint32
	Size     atomic.Uint32
	_        [116]byte
	Request  [futexLargest]byte
	Reply    [futexLargest]byte
}

type futexTable struct {
	Bell     atomic.Uint32
	Sleeping atomic.Uint32
	_        [120]byte
	Slots    [futexCallers]futexSlot
}

func futexWait(w *atomic.Uint32, is uint32) {
	const op = 0 // FUTEX_WAIT
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), op, uintptr(is), 0, 0, 0)
}

func futexWake(w *atomic.Uint32) {
	const op = 1 // FUTEX_WAKE
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), op, 1, 0, 0, 0)
}

// futexServer replies to all slots.
func futexServer(c *shmemtest.Conn) error {
	box, err := shmem.Attach[futexTable]("f", &shmem.Options{Dir: c.Args()[0]})
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
			copy(s.Reply[:s.Size.Load()], s.Request[:])
			s.State.Store(replied)
			if s.Sleeping.Load() != 0 {
				futexWake(&s.State)
			}
		}
		if worked {
			continue
		}
		t.Sleeping.Store(1)
		futexWait(&t.Bell, bell)
		t.Sleeping.Store(0)
	}
}

// futex measures so many callers.
func futex(b *testing.B, size, callers int) {
	dir := shmemtest.Dir(b)
	box, err := shmem.Create[futexTable]("f", &shmem.Options{Dir: dir})
	check(b, err)
	defer box.Close()
	s := shmemtest.Start(b, "futexServer", dir)
	defer s.Kill()
	s.Expect(b, "ready")
	t := box.Value()
	var all []caller
	for i := range callers {
		slot, reply := &t.Slots[i], make([]byte, size)
		all = append(all, func(q []byte) error {
			copy(slot.Request[:], q)
			slot.Size.Store(uint32(size))
			slot.State.Store(asked)
			t.Bell.Add(1)
			if t.Sleeping.Load() != 0 {
				futexWake(&t.Bell)
			}
			for slot.State.Load() != replied {
				slot.Sleeping.Store(1)
				futexWait(&slot.State, asked)
				slot.Sleeping.Store(0)
			}
			copy(reply, slot.Reply[:])
			return nil
		})
	}
	measure(b, s.Pid(), size, all)
}
