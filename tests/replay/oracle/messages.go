package oracle

import (
	"fmt"
	"slices"

	"github.com/shmembox/shmem/tests/replay/world"
)

// Messages keeps books of what is sent and received. A message is a number: sender and count.
type Messages struct {
	sent, got map[uint64]int
	begun     map[uint64]bool
	last      map[[2]int]uint64
	Order     bool // what one receiver gets of one sender must be in order
}

// Message is the n-th message of a sender.
func Message(sender, n int) uint64 { return uint64(sender)<<32 | uint64(n) }

// Begin and Sent say that sending began, and came back without error.
func (m *Messages) Begin(msg uint64) {
	if m.begun == nil {
		m.begun, m.sent = map[uint64]bool{}, map[uint64]int{}
		m.got, m.last = map[uint64]int{}, map[[2]int]uint64{}
	}
	m.begun[msg] = true
}

// Sent says that sending came back without error.
func (m *Messages) Sent(msg uint64) { m.sent[msg]++ }

// Got says that a receiver was handed a message.
func (m *Messages) Got(receiver int, msg uint64) {
	if !m.begun[msg] {
		world.Fail("receiver %d got %#x, which no process sent", receiver, msg)
	}
	if m.got[msg]++; m.got[msg] > 1 {
		world.Fail("receiver %d got message %#x, which was received before", receiver, msg)
	}
	k := [2]int{receiver, int(msg >> 32)}
	if last, ok := m.last[k]; ok && m.Order && msg <= last {
		world.Fail("receiver %d got message %#x after %#x", receiver, msg, last)
	}
	m.last[k] = msg
}

// Missing returns an error if more than spare messages that were sent have not arrived.
func (m *Messages) Missing(spare int) error {
	var missing []uint64
	for msg := range m.sent {
		if m.got[msg] == 0 {
			missing = append(missing, msg)
		}
	}
	slices.Sort(missing)
	if len(missing) > spare {
		return fmt.Errorf("%d messages were sent and have not arrived: %#x", len(missing), missing)
	}
	return nil
}
