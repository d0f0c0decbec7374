package sys

import "time"

// A doorbell is what a thread or a goroutine sleeps on while it waits for other processes. On Linux
// it is a futex word in shared memory (HasFutex). Elsewhere it is a Bell: something that has a name
// in the system, which every process that has the file open derives from it.
//
// A ring may be lost only if no process waits at the bell, and a wait may end too early: callers
// check the word of the bell before they wait and afterwards.

// MaxSpin is the longest spin before a wait parks: about what parking and waking cost with the
// doorbell of this system.
var _ time.Duration = MaxSpin

// BellTakesThread tells that a goroutine in Bell.Wait keeps a thread.
var _ bool = BellTakesThread

// A bell is what a *Bell does.
type bell interface {
	// Wait waits for a ring, at most for d. A ring that came before counts. It reports false if the
	// bell does not work. Only one goroutine calls it at a time.
	Wait(d time.Duration) (ok bool)

	// Close removes the bell. It ends a Wait.
	Close()
}

// A ringer is what a *Ringer does.
type ringer interface {
	// Ring rings the bell of that name, if there is one and this user may ring it. Several
	// goroutines may call it.
	Ring(name string)

	// Close ends the use of the Ringer. No Ring is in flight.
	Close()
}

// The functions of bells.
var (
	_ bell   = (*Bell)(nil)
	_ ringer = (*Ringer)(nil)

	// BellName returns the name of the bell of a slot of the file, and a generation of the slot.
	_ func(file Stat, slot int, gen uint32) string = BellName

	// OpenBell makes the bell of that name.
	_ func(name string) (*Bell, error) = OpenBell

	// OpenRinger returns what rings bells.
	_ func() (*Ringer, error) = OpenRinger
)
