package main

import (
	"context"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
)

// table is where two processes play: whose turn it is, by events or by a condition, and the ball.
type table struct {
	turn    [2]psync.Event
	mu      psync.Mutex
	changed psync.Cond
	whose   uint32
	_       [64]byte
	ball    [64]byte
}

func openBox[T any](t *Trial, name string) (*shmem.Box[T], error) {
	return shmem.Open[T](name, &shmem.Options{Dir: t.Dir, Lifetime: shmem.Kept})
}

var eventPingPong = pingPong("psync.Event",
	func(v *table, to int) error { return v.turn[to].Set() },
	func(v *table, me int) error {
		if err := v.turn[me].Wait(context.Background()); err != nil {
			return err
		}
		return v.turn[me].Reset()
	})

var condPingPong = pingPong("psync.Cond",
	func(v *table, to int) error {
		if err := v.mu.Lock(context.Background()); err != nil {
			return err
		}
		v.whose = uint32(to)
		if err := v.changed.Signal(); err != nil {
			return err
		}
		return v.mu.Unlock()
	},
	func(v *table, me int) error {
		if err := v.mu.Lock(context.Background()); err != nil {
			return err
		}
		for v.whose != uint32(me) {
			if err := v.changed.Wait(context.Background(), &v.mu); err != nil {
				return err
			}
		}
		return v.mu.Unlock()
	})

// pingPong is a round trip in which one gives the turn to the other and waits to have it back.
func pingPong(name string, give, take func(v *table, who int) error) Contender {
	turn := func(v *table, other, me int, ball *[64]byte) error {
		v.ball = *ball
		if err := give(v, other); err != nil {
			return err
		}
		err := take(v, me)
		*ball = v.ball
		return err
	}
	second := role("second at "+name, func(t *Trial) error {
		box, err := openBox[table](t, "table")
		if err != nil {
			return err
		}
		var ball [64]byte
		for err = take(box.Value(), 1); err == nil; {
			err = turn(box.Value(), 0, 1, &ball)
		}
		return err
	})
	return Contender{Name: name, Kind: Ours, Run: func(t *Trial) error {
		box, err := openBox[table](t, "table")
		if err != nil {
			return err
		}
		if _, err := t.Start(second); err != nil {
			return err
		}
		var ball [64]byte
		return t.Each(func() error { return turn(box.Value(), 1, 0, &ball) })
	}}
}
