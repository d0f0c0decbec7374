//go:build linux

package main

import (
	"errors"
	"fmt"
	"time"
)

// A tally is what became of the messages.
type tally struct {
	tried   uint64 // a producer began to send them
	arrived uint64 // different ones
	lost    uint64 // Send returned nil, and they did not arrive

	twice  uint64 // arrived again
	late   uint64 // arrived after a later one of the same producer
	gaps   uint64 // missing in the sequence of a producer (topic)
	faults uint64 // those of twice and gaps that no kill explains
}

// account checks the ledger against what the kills allow.
func (t *trial) account() error {
	took := time.Since(t.began)
	var y tally
	t.countArrived(&y)
	logged := t.countLogged(&y)
	_, skipped, redelivered := t.q.stats()
	fmt.Printf("%v: tried %d, received %d, arrived %d, in doubt %d, ",
		took.Round(time.Millisecond), y.tried, t.l.got(), y.arrived, len(t.unsure))
	fmt.Printf("killed %d, skipped %d, redelivered %d\n", t.died, skipped, redelivered)
	fmt.Printf("lost %d; arrived twice %d; missing %d; not explained by a kill %d; out of order "+
		"%d\n",
		y.lost, y.twice, y.gaps, y.faults, y.late)
	switch {
	case logged > logLen:
		return errors.New("FAILED: the ledger's log is full")
	case y.lost > t.cut || y.faults > 0:
		return errors.New("FAILED: messages lost or doubled")
	case y.late > redelivered && !isTopic(), t.died == 0 && y.late+y.twice+y.gaps > 0:
		return errors.New("FAILED: out of order")
	}
	fmt.Println("ok")
	return nil
}

// countArrived counts by the bits of the messages. Subscribers of a topic set none: they all get
// all.
func (t *trial) countArrived(y *tally) {
	for p := range *producers {
		n := t.l.Producer[p].Intent.Load()
		y.tried += n
		if isTopic() {
			continue
		}
		for seq := range n {
			if t.l.has(p, seq) {
				y.arrived++
			} else if !t.unsure[entry(0, p, seq)] {
				y.lost++
			}
		}
	}
}

// countLogged counts by what the consumers logged, and returns how many entries they made.
func (t *trial) countLogged(y *tally) uint64 {
	logged := t.l.LogNext.Load()
	for i := range min(logged, logLen) {
		e := t.l.Log[i].Load()
		id := withoutKind(e)
		switch kindOf(e) {
		case double:
			if y.twice++; !t.excused[id] {
				y.faults++
			}
		case late:
			y.late++
		case gap:
			if y.gaps++; !t.unsure[id] {
				y.faults++
			}
		}
	}
	return logged
}
