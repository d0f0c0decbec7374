package ring

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem/internal/access"
)

// FuzzMPMCScript runs a script of calls of several ids, which can die between any two calls, and
// compares with a list of what was sent.
func FuzzMPMCScript(f *testing.F) {
	f.Add(byte(1), []byte{0, 1, 2, 3, 0, 1, 2, 3})
	f.Add(byte(3), []byte{0, 16, 1, 17, 2, 5, 18, 6, 3, 2, 7, 2, 3})
	f.Add(byte(2), []byte{0, 0, 5, 6, 1, 2, 2, 5, 2, 3, 7, 2})
	f.Fuzz(func(t *testing.T, size byte, script []byte) { mpmcScript(t, int(size%9)+1, script) })
}

func mpmcScript(t *testing.T, n int, script []byte) {
	var h MPMCHeader
	r, err := NewMPMC(&h, SideBySide(make([]atomic.Uint64, n)))
	if err != nil {
		t.Fatal(err)
	}
	type hold struct {
		pos  uint64
		id   uint32
		send bool
	}
	items := make([]int, n)
	state := map[int]string{} // message: claimed, sent, taken, done
	alive := [4]bool{true, true, true, true}
	ids := [4]uint32{1, 2, 3, 4}
	live := func(id uint32) bool {
		for i := range ids {
			if ids[i] == id {
				return alive[i]
			}
		}
		return false
	}
	var holds []hold
	next, died, skipped := 0, 0, 0 // claims of dead producers, and those that Repair has ended
	pick := func(send bool, b byte) int {
		for k := range holds {
			j := (int(b>>4) + k) % len(holds)
			if holds[j].send == send && live(holds[j].id) {
				return j
			}
		}
		return -1
	}
	drop := func(j int) { holds = append(holds[:j], holds[j+1:]...) }
	for _, b := range script {
		self := ids[b>>4&3]
		switch b & 15 {
		case 0, 8, 9:
			pos, k, err := r.ClaimN(self, 1+int(b>>6))
			if err == nil {
				for j := range k {
					items[r.Index(pos+uint64(j))] = next
					state[next] = "claimed"
					holds = append(holds, hold{pos + uint64(j), self, true})
					next++
				}
			} else if err != ErrFull && !(err == ErrClosed && r.Closed()) {
				t.Fatal(err)
			}
		case 1, 10:
			if j := pick(true, b); j >= 0 {
				if err := r.Publish(holds[j].id, holds[j].pos); err != nil {
					t.Fatal(err)
				}
				state[items[r.Index(holds[j].pos)]] = "sent"
				drop(j)
			}
		case 2, 11, 12:
			pos, k, again, err := r.takeN(self, 1+int(b>>6))
			if err != nil && err != ErrEmpty && err != ErrHeld && !(err == ErrClosed && r.Closed()) {
				t.Fatal(err)
			}
			for j := range k {
				m := items[r.Index(pos+uint64(j))]
				if s := state[m]; s != "sent" && !(again && s == "given") {
					t.Fatalf("took %d, which is %q, again %v", m, s, again)
				}
				state[m] = "taken"
				holds = append(holds, hold{pos + uint64(j), self, false})
			}
		case 3, 13:
			if j := pick(false, b); j >= 0 {
				if err := r.releaseAny(holds[j].id, holds[j].pos); err != nil {
					t.Fatal(err)
				}
				state[items[r.Index(holds[j].pos)]] = "done"
				drop(j)
			}
		case 4:
			if j := pick(false, b); j >= 0 {
				if err := r.returnAny(holds[j].id, holds[j].pos); err != nil {
					t.Fatal(err)
				}
				state[items[r.Index(holds[j].pos)]] = "given"
				drop(j)
			}
		case 5: // dies; its successor has another id
			i := b >> 4 & 3
			alive[i] = false
			skips, returns := r.Repair(live)
			for j := len(holds) - 1; j >= 0; j-- {
				if holds[j].id != ids[i] {
					continue
				}
				m := items[r.Index(holds[j].pos)]
				if holds[j].send {
					died++
					state[m] = "done"
				} else {
					returns--
					state[m] = "given"
				}
				drop(j)
			}
			skipped += skips
			if skipped > died || returns != 0 {
				t.Fatalf("%d of %d skips, %d returns too many", skipped, died, returns)
			}
			ids[i] += 4
			alive[i] = true
		case 6:
			if j := pick(true, b); j >= 0 {
				if err := r.Cancel(holds[j].id, holds[j].pos); err != nil {
					t.Fatal(err)
				}
				state[items[r.Index(holds[j].pos)]] = "done"
				drop(j)
			}
		case 7:
			if b>>4 == 15 {
				r.Close()
			}
		}
	}
	// All ids die. Every message that is left comes once.
	none := func(id uint32) bool { return id == 99 }
	r.Repair(none)
	for {
		pos, _, err := take(r, 99)
		if err == ErrHeld {
			if skips, _ := r.Repair(none); skips == 0 {
				t.Fatal("held by none that lives")
			}
			pos, _, err = take(r, 99)
		}
		if err != nil {
			if err != ErrEmpty && err != ErrClosed {
				t.Fatal(err)
			}
			break
		}
		m := items[r.Index(pos)]
		if s := state[m]; s != "sent" && s != "given" && s != "taken" {
			t.Fatalf("at the end took %d, which is %q", m, s)
		}
		state[m] = "done"
		_ = r.releaseAny(99, pos)
	}
	for m, s := range state {
		if s != "done" && s != "claimed" {
			t.Fatalf("%d is %s at the end", m, s)
		}
	}
}

func TestMPMCScripts(t *testing.T) {
	runs := 20_000
	if long {
		runs = 2_000_000
	}
	rnd := rand.New(rand.NewPCG(11, 12))
	for range runs {
		script := make([]byte, rnd.IntN(120))
		for i := range script {
			script[i] = byte(rnd.Uint32())
		}
		mpmcScript(t, 1+rnd.IntN(8), script)
	}
}

// scribbler overwrites shared words before accesses, and counts the accesses.
type scribbler struct {
	words []*atomic.Uint64
	bytes []byte
	rnd   *rand.Rand
	odds  int
	steps int // of the call that runs
	most  int // of a call
}

// mostSteps is more than any call takes: each of up to tries tries may look at all slots.
const mostSteps = 200_000

func (s *scribbler) value() uint64 {
	r := s.rnd
	switch r.IntN(8) {
	case 0:
		return r.Uint64()
	case 1:
		return uint64(r.IntN(20))
	case 2:
		return -uint64(r.IntN(20))
	case 3:
		return s.words[r.IntN(len(s.words))].Load() + uint64(r.IntN(5)) - 2
	case 4:
		return s.words[r.IntN(len(s.words))].Load() ^ 1<<r.IntN(64)
	case 5:
		return uint64(plain(r.Uint64N(8), r.Uint64N(4)))
	default:
		return uint64(named(r.Uint64N(8), r.Uint64N(4), uint32(r.IntN(4))))
	}
}

func (s *scribbler) scribble() {
	if len(s.bytes) > 0 && s.rnd.IntN(3) == 0 {
		binary.NativeEndian.PutUint64(s.bytes[8*s.rnd.IntN(len(s.bytes)/8):], s.value())
		return
	}
	s.words[s.rnd.IntN(len(s.words))].Store(s.value())
}

func (s *scribbler) reach(string, *atomic.Uint64) {
	if s.steps++; s.steps > mostSteps {
		panic("unbounded")
	}
	s.most = max(s.most, s.steps)
	if s.rnd.IntN(s.odds) == 0 {
		s.scribble()
	}
}

// hostile calls all methods while words are overwritten. They must return, with indices in range.
// It returns how many accesses a call took at most.
func hostile(t *testing.T, seed uint64, kind, n, ops, odds int) (most int) {
	s := &scribbler{rnd: rand.New(rand.NewPCG(seed, 5)), odds: odds}
	rnd := rand.New(rand.NewPCG(seed, 6))
	defer func() {
		access.Hook = nil
		most = s.most
		if e := recover(); e != nil {
			t.Fatalf("seed %d, kind %d, %d slots: %v", seed, kind, n, e)
		}
	}()
	shareAll := func(ws []atomic.Uint64) {
		for i := range ws {
			s.words = append(s.words, &ws[i])
		}
	}
	index := func(i, k, n int) {
		if i < 0 || k < 0 || i+k > n {
			panic("out of range")
		}
	}
	alive := func(id uint32) bool { return rnd.IntN(3) > 0 }
	var op func()
	switch kind {
	case 0, 1:
		var h MPMCBytesHeader
		slots, extents := make([]atomic.Uint64, n), make([]Extent, n)
		s.words = append(s.words, &h.Tail, &h.Head, &h.Closed, &h.Suspects, &h.Settled)
		shareAll(slots)
		var r *MPMC
		var b *MPMCBytes
		if kind == 0 {
			r, _ = NewMPMC(&h.MPMCHeader, SideBySide(slots))
		} else {
			b, _ = NewMPMCBytes(&h, slots, extents, 8*n)
			r = b.q
			s.words = append(s.words, &h.Gate, &h.Low)
			for i := range extents {
				s.words = append(s.words, &extents[i].Start, &extents[i].Size)
			}
		}
		withMarks(r)
		shareAll(r.marks)
		var pos uint64
		op = func() {
			self := uint32(1 + rnd.IntN(3))
			switch rnd.IntN(12) {
			case 0, 1:
				if b != nil {
					size := rnd.IntN(8*n + 2)
					p, off, err := b.Claim(self, size)
					if err == nil {
						index(off, size, 8*n)
						pos = p
						b.Publish(self, p)
					}
					return
				}
				p, k, err := r.ClaimN(self, rnd.IntN(n+2))
				if err == nil {
					pos = p
					index(r.Index(p), 1, n)
					if k < 1 || k > n {
						panic("batch")
					}
					r.PublishN(self, p, k)
				}
			case 2, 3:
				p, k, _, err := r.takeN(self, rnd.IntN(n+2))
				if err == nil {
					pos = p
					index(r.Index(p), 1, n)
					if b != nil {
						if off, size, err := b.Message(p); err == nil {
							index(off, size, 8*n)
						}
					}
					if rnd.IntN(2) == 0 {
						r.ReleaseN(self, p, k)
					}
				}
			case 4:
				_ = r.returnAny(self, pos)
				r.End(only(self))
			case 5:
				r.Cancel(self, pos)
			case 6:
				if b != nil {
					b.Repair(alive)
				} else {
					r.Repair(alive)
				}
			case 7:
				r.Stats()
				r.Stuck()
				if l := r.Len(); l < 0 || l > n {
					panic("len")
				}
			case 8:
				r.tail.Store(rnd.Uint64N(1 << 62))
				if x, ok := r.TakeNext(self); ok {
					index(x.Index, 1, n)
					_ = r.ReleaseNext(x)
				}
				if x, ok := r.TryTake(self); ok {
					index(x.Index, 1, n)
					r.ReleaseTried(x)
				}
			case 9:
				if b != nil {
					return
				}
				r.head.Store(rnd.Uint64N(1 << 62))
				if x, ok := r.ClaimNext(self); ok {
					index(x.Index, 1, n)
					_ = r.PublishNext(x)
				}
				if x, ok := r.TryClaim(self); ok {
					index(x.Index, 1, n)
					r.PublishTried(x)
				}
			case 10:
				now := rnd.Int64N(1 << 40)
				if p, _, ok := r.Retake(self, now); ok {
					index(r.Index(p), 1, n)
					r.Stamp(self, p, now)
					_ = r.ReturnAgain(self, p, now+rnd.Int64N(100))
				}
				r.Mend(Care{Alive: alive, Now: now, Limit: 1 + rnd.Int64N(100), Delay: rnd.Int64N(100)})
			case 11:
				r.Sweep()
				r.NoLease()
				r.CanTake()
				r.CanClaim()
				r.Holders(nil, 4)
				if b != nil {
					b.CanClaim(rnd.IntN(8*n + 1))
				}
			}
		}
	case 2:
		var h SPSCHeader
		s.words = append(s.words, &h.Tail, &h.Head, &h.Closed, &h.Producer, &h.Consumer)
		r, _ := NewSPSC(&h, n)
		var snd *Sender
		var rcv *Receiver
		op = func() {
			if snd == nil || rnd.IntN(20) == 0 {
				snd, _ = r.Sender(1, func(uint32) bool { return false })
			}
			if rcv == nil || rnd.IntN(20) == 0 {
				rcv, _ = r.Receiver(2, func(uint32) bool { return false })
			}
			if l := r.Len(); l < 0 || l > n {
				panic("len")
			}
			if snd != nil && rnd.IntN(2) == 0 {
				if i, k, err := snd.Reserve(rnd.IntN(n + 2)); err == nil {
					index(i, k, n)
					snd.Publish(rnd.IntN(k + 1))
				}
			} else if rcv != nil {
				if i, k, err := rcv.Peek(rnd.IntN(n + 2)); err == nil {
					index(i, k, n)
					rcv.Release(rnd.IntN(k + 1))
				}
			}
		}
	case 3:
		n += 2 - min(n, 2)
		data := make([]byte, 8*max(n, 2))
		s.bytes = data
		var h SPSCHeader
		s.words = append(s.words, &h.Tail, &h.Head, &h.Closed, &h.Producer, &h.Consumer)
		r, err := NewSPSCBytes(&h, data)
		if err != nil {
			panic(err)
		}
		var snd *ByteSender
		var rcv *ByteReceiver
		op = func() {
			if snd == nil || rnd.IntN(20) == 0 {
				snd, _ = r.Sender(1, func(uint32) bool { return false })
			}
			if rcv == nil || rnd.IntN(20) == 0 {
				rcv, _ = r.Receiver(2, func(uint32) bool { return false })
			}
			if snd != nil && rnd.IntN(2) == 0 {
				if p, err := snd.Reserve(rnd.IntN(r.Max() + 2)); err == nil {
					snd.Commit(rnd.IntN(len(p) + 1))
					snd.Publish()
				}
			} else if rcv != nil {
				rcv.Next()
				if rnd.IntN(2) == 0 {
					rcv.Release()
				}
			}
		}
	case 4:
		var h BroadcastHeader
		slots, holds := make([]atomic.Uint64, n), make([]Hold, rnd.IntN(3))
		s.words = append(s.words, &h.Tail, &h.Closed, &h.Used)
		shareAll(slots)
		for i := range holds {
			s.words = append(s.words, &holds[i].ID, &holds[i].Cursor)
		}
		r, _ := NewBroadcast(&h, slots, holds)
		p := r.Publisher(1)
		cs := []*Cursor{r.From(0)}
		op = func() {
			c := cs[rnd.IntN(len(cs))]
			switch rnd.IntN(6) {
			case 0:
				if pos, err := p.Claim(); err == nil {
					index(r.Index(pos), 1, n)
					if rnd.IntN(4) > 0 {
						p.Publish(pos)
					}
				}
			case 1, 2:
				if pos, _, err := c.Next(); err == nil {
					index(r.Index(pos), 1, n)
					c.Done()
				} else {
					c.PassDead(alive)
				}
			case 3:
				r.Repair(alive)
				r.RepairAt(alive, c.Pos())
				r.Slowest()
			case 4:
				if pos, err := r.Latest(); err == nil {
					index(r.Index(pos), 1, n)
				}
			case 5:
				if c, err := r.Hold(3); err == nil {
					cs = append(cs, c)
				}
				cs = append(cs, r.From(rnd.Uint64N(10)))
				if len(cs) > 4 {
					cs[0].Leave()
					cs = cs[1:]
				}
			}
		}
	}
	if kind == 5 {
		op = hostileCastBytes(s, rnd, n, alive)
	}
	access.Hook = s.reach
	for range ops {
		s.steps = 0
		op()
	}
	return s.most
}

// hostileCastBytes returns the calls of a broadcast ring of messages of any length.
func hostileCastBytes(
	s *scribbler, rnd *rand.Rand, n int, alive func(id uint32) bool,
) func() {
	var h BroadcastBytesHeader
	slots, extents, holds := make([]atomic.Uint64, n), make([]Extent, n), make([]Hold, rnd.IntN(3))
	s.words = append(s.words, &h.Tail, &h.Closed, &h.Used, &h.Gate, &h.Low, &h.Reserved)
	for i := range slots {
		s.words = append(s.words, &slots[i], &extents[i].Start, &extents[i].Size)
	}
	for i := range holds {
		s.words = append(s.words, &holds[i].ID, &holds[i].Cursor)
	}
	room := 8 * (1 + rnd.IntN(2*n))
	r, err := NewBroadcastBytes(&h, slots, extents, holds, room)
	if err != nil {
		panic(err)
	}
	within := func(off, size int) {
		if off < 0 || off%8 != 0 || size < 0 || off+size > room {
			panic("out of range")
		}
	}
	p := r.Publisher(1)
	cs := []*Cursor{r.From(0)}
	return func() {
		c := cs[rnd.IntN(len(cs))]
		switch rnd.IntN(8) {
		case 0, 1:
			size := rnd.IntN(room + 2)
			if pos, off, err := p.ClaimBytes(size); err == nil {
				within(off, size)
				if rnd.IntN(4) > 0 {
					p.Publish(pos)
				}
			}
			r.CanClaimBytes(size)
		case 2, 3:
			if _, _, err := c.NextBytes(); err == nil {
				within(c.Extent())
				c.DoneBytes()
			} else {
				c.PassDead(alive)
			}
		case 4:
			if _, err := c.NewestBytes(); err == nil {
				within(c.Extent())
				c.DoneBytes()
			}
			r.CanNewest(c.Pos())
		case 5:
			r.Repair(alive)
			r.RepairAt(alive, c.Pos())
			r.Writing()
		case 6:
			if pos, err := r.Latest(); err == nil {
				if off, size, ok := r.Message(pos); ok {
					within(off, size)
					r.Kept(pos)
				}
			}
			r.Last(rnd.Uint64N(10))
		case 7:
			if c, err := r.Hold(3); err == nil {
				cs = append(cs, c)
			}
			cs = append(cs, r.From(r.Oldest()))
			if len(cs) > 4 {
				cs[0].Leave()
				cs = cs[1:]
			}
		}
	}
}

func FuzzHostile(f *testing.F) {
	for kind := range 6 {
		f.Add(uint64(kind), byte(kind), byte(3), byte(50), byte(4))
	}
	f.Fuzz(func(t *testing.T, seed uint64, kind, n, ops, odds byte) {
		hostile(t, seed, int(kind)%6, int(n)%17+1, int(ops), int(odds)+1)
	})
}

func TestHostile(t *testing.T) {
	runs := uint64(4_000)
	if long {
		runs = 400_000
	}
	var most [6]int
	for seed := range runs {
		k := int(seed % 6)
		most[k] = max(most[k],
			hostile(t, seed, k, int(seed/6%9)+1, 200, []int{2, 10, 100}[seed%3]))
	}
	t.Logf("accesses of a call at most, by kind: %d; the limit is %d", most, mostSteps)
}
