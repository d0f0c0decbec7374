package sys

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/windows"
)

// MaxSpin is about what an event and the wake-up of a thread cost.
const MaxSpin = 60 * time.Microsecond

// BellTakesThread: see bell.go.
const BellTakesThread = true

// A Bell is an event that has a name in this session. It is gone with its last handle, so that a
// process that dies leaves nothing.
type Bell struct {
	event  windows.Handle
	closed atomic.Bool
	mu     sync.Mutex // held by a Wait
}

func BellName(file Stat, slot int, gen uint32) string {
	return fmt.Sprintf(`Local\shmem-%x-%x-%x-%x`, file.Dev, file.Ino, slot, gen)
}

func OpenBell(name string) (*Bell, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateEvent(nil, 0, 0, p) // a wait that it ends resets it
	if h == 0 {
		return nil, err
	}
	return &Bell{event: h}, nil
}

func (b *Bell) Wait(d time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return false
	}
	ms := min(max(d+time.Millisecond-1, 0)/time.Millisecond, windows.INFINITE-1)
	_, err := windows.WaitForSingleObject(b.event, uint32(ms))
	return err == nil && !b.closed.Load()
}

func (b *Bell) Close() {
	if b.closed.Swap(true) {
		return
	}
	_ = windows.SetEvent(b.event) // ends a Wait
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = windows.CloseHandle(b.event)
}

// A Ringer keeps the events that it has set: to open one takes longer.
type Ringer struct {
	mu     sync.Mutex
	events map[string]windows.Handle // guarded by mu
}

// maxEvents bounds the events of a Ringer: those of bells that are closed are never used again.
const maxEvents = 256

func OpenRinger() (*Ringer, error) { return &Ringer{events: map[string]windows.Handle{}}, nil }

func (r *Ringer) Ring(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.events[name]
	if !ok {
		p, err := windows.UTF16PtrFromString(name)
		if err != nil {
			return
		}
		if h, err = windows.OpenEvent(windows.EVENT_MODIFY_STATE, false, p); h == 0 || err != nil {
			return // no process waits there
		}
		if len(r.events) >= maxEvents {
			r.closeAll()
		}
		r.events[name] = h
	}
	_ = windows.SetEvent(h)
}

// closeAll forgets all events. mu is held.
func (r *Ringer) closeAll() {
	for _, h := range r.events {
		_ = windows.CloseHandle(h)
	}
	clear(r.events)
}

func (r *Ringer) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeAll()
}
