package pool

import (
	"math/rand/v2"
	"testing"
)

func scribble(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	m := newMemory(3, 2)
	p, err := New(m.parts)
	if err != nil {
		t.Fatal(err)
	}
	var refs []Ref
	for range 40 {
		switch rnd.IntN(7) {
		case 0:
			m.parts.States[rnd.IntN(3)].Store(word(rnd))
		case 1:
			m.parts.Shares[rnd.IntN(6)].Store(word(rnd))
		case 2:
			if r, ok := p.Take(1, 0, 3, rnd.IntN(5)); ok {
				refs = append(refs, r)
			}
		case 3:
			if r, err := p.Join(2, rnd.IntN(3), rnd.Uint64N(4)); err == nil {
				refs = append(refs, r)
			}
		case 4:
			if r, err := p.Accept(3, rnd.IntN(3), rnd.IntN(4), rnd.Uint64N(4), 7); err == nil {
				refs = append(refs, r)
			}
		default:
			if len(refs) == 0 {
				continue
			}
			i := rnd.IntN(len(refs))
			r := refs[i]
			refs = append(refs[:i], refs[i+1:]...)
			p.Alone(r)
			if rnd.IntN(2) == 0 {
				p.Leave(r)
			} else if k, err := p.HandOver(r, 7, 100); err == nil && (k < 0 || k >= 2) {
				t.Errorf("share %d", k)
			}
		}
	}
	for _, now := range []uint32{200, 200 + MaxLease + 1} {
		p.Sweep(func(uint32) bool { return false }, now)
	}
	for i := range m.parts.States {
		if p.Load(i).Taken() {
			t.Errorf("seed %d: buffer %d is lost: %x, shares %x %x", seed, i, p.Load(i), p.Share(i, 0),
				p.Share(i, 1))
		}
	}
}

// word returns a word that means something, or any.
func word(rnd *rand.Rand) uint64 {
	switch rnd.IntN(4) {
	case 0:
		return uint64(newState(rnd.IntN(2) == 0, rnd.Uint64N(4), rnd.Uint64N(3)))
	case 1:
		return uint64(Held(rnd.Uint32N(5), rnd.Uint32N(4)))
	case 2:
		return uint64(InFlight(7, rnd.Uint32N(300)))
	}
	return rnd.Uint64()
}
