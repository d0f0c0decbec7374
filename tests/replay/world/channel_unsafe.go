package world

import "unsafe"

// Channels are Go's own, used by one thread at a time and without ever blocking in the Go runtime.
// A send on an unbuffered channel therefore needs a receiver that Go does not see: it fails the
// run.

// ChannelKey is what threads are blocked on that wait for a channel.
func ChannelKey[T any](c <-chan T) Key { return Key{Channel, *(*uintptr)(unsafe.Pointer(&c)), 0} }

// A Case is one case of a select.
type Case struct {
	try   func() bool
	key   Key
	never bool // the channel is nil
}

// RecvCase is a case that receives.
func RecvCase[T any](c <-chan T) Case {
	try := func() bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	return Case{try, ChannelKey(c), c == nil}
}

// SendCase is a case that sends v.
func SendCase[T any](c chan<- T, v T) Case {
	if c != nil && cap(c) == 0 {
		panic(&Failure{Panicked, "a send on an unbuffered channel is not simulated"})
	}
	try := func() bool {
		select {
		case c <- v:
			return true
		default:
			return false
		}
	}
	return Case{try, ChannelKey(*(*<-chan T)(unsafe.Pointer(&c))), c == nil}
}

// Select is the select statement. It returns the number of the case, -1 for default.
func Select(other bool, cases ...Case) int {
	Local()
	for {
		first := 0
		if len(cases) > 1 && w.cur != nil {
			w.cur.points++
			first = w.chooser.pick(w, len(cases))
			w.note(token{choice, first}, first == 0)
		}
		for i := range cases {
			n := (first + i) % len(cases)
			if c := &cases[n]; !c.never && c.try() {
				Wake(c.key, 0)
				return n
			}
		}
		if other {
			return -1
		}
		keys := make([]Key, 0, len(cases))
		for _, c := range cases {
			if !c.never {
				keys = append(keys, c.key)
			}
		}
		Block(-1, keys...)
	}
}

// Recv is a receive statement, Send a send statement, Close the close of a channel.
func Recv[T any](c <-chan T)      { Select(false, RecvCase(c)) }
func Send[T any](c chan<- T, v T) { Select(false, SendCase(c, v)) }

// Close is the builtin close.
func Close[T any](c chan T) {
	Local()
	close(c)
	Wake(ChannelKey((<-chan T)(c)), 0)
}

// A Mutex is the core of sync.Mutex.
type Mutex struct{ held bool }

func (m *Mutex) key() Key { return Key{Lock, uintptr(unsafe.Pointer(m)), 0} }

// Lock waits until the mutex is free and takes it.
func (m *Mutex) Lock() {
	Local()
	for m.held {
		Block(-1, m.key())
	}
	m.held = true
}

// TryLock takes the mutex if it is free.
func (m *Mutex) TryLock() bool {
	Local()
	if m.held {
		return false
	}
	m.held = true
	return true
}

// Unlock frees the mutex.
func (m *Mutex) Unlock() {
	if w != nil && w.cur != nil && w.cur.dead {
		panic(unwind{})
	}
	m.held = false
	if w != nil {
		Wake(m.key(), 0)
	}
}

// A WaitGroup is sync.WaitGroup.
type WaitGroup struct{ n int }

func (g *WaitGroup) key() Key { return Key{Lock, uintptr(unsafe.Pointer(g)), 0} }

// Go starts a thread of this process.
func (g *WaitGroup) Go(f func()) {
	g.n++
	Spawn(func() {
		defer g.done()
		f()
	})
}

func (g *WaitGroup) done() {
	if w == nil || w.cur != nil && w.cur.dead {
		return
	}
	if g.n--; g.n == 0 {
		Wake(g.key(), 0)
	}
}

// Wait waits until all threads have ended.
func (g *WaitGroup) Wait() {
	Local()
	for g.n > 0 {
		Block(-1, g.key())
	}
}
