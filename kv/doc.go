// Package kv provides a hash map that processes share, and a cache. [Map] has a fixed capacity, and
// keys and values of any type that a box can have. [Cache] has bytes of any length under strings or
// bytes, in a fixed amount of memory, and evicts entries that were not read. What follows is about
// Map; the methods of Cache say what they do.
//
//	sessions, err := kv.Open[[16]byte, Session]("sessions", &kv.Options{Capacity: 100_000})
//	if err != nil {
//		return err
//	}
//	defer sessions.Close()
//	err = sessions.Set(ctx, id, Session{User: 7})
//	session, found, err := sessions.Get(id)
//
// # Reading and changing
//
// [Map.Get] takes no lock. It returns a value as it was at one moment, and never waits for a
// process that changes the map, also if that process is stopped or dead.
//
// A change is whole or undone, wherever the process is killed that makes it, and counts from one
// moment on for all processes. Changes of the same key come one after the other, and so do those of
// some other keys: the map has at most 1024 locks. A change waits for the process that holds the
// lock. If that process has died, the next one undoes or finishes its change, and goes on.
//
// Values are copies: methods Init and Drop are never called, and atomics and locks in a value would
// be copies as well, so they are refused.
//
// # Keys
//
// Two keys are the same if they are == in Go. Bytes of padding do not count. A type with floating
// point numbers is refused as a key: NaN differs from itself, and 0 equals -0. Use the bits of the
// number.
//
// # Room
//
// A map has room for exactly [Options.Capacity] entries. What is not used takes memory as well. If
// there is no room [Map.Set] removes an entry that has expired or, with [Options.Evict], one that
// was not used lately. That is CLOCK: a hand goes round, and removes the first entry that was
// neither read nor changed since it last came by. Otherwise Set returns [ErrFull].
//
// # Expiry
//
// An entry can have a time at which it expires. From then on no call finds it. It takes its room
// until the room is needed. The same is true of a [Cache].
//
// Times are those of the machine's date, and time in which the machine is suspended counts. If the
// date is set forward entries expire sooner. If it is set back they live longer, and an entry that
// had expired may be found again until its room was needed.
//
// # Deaths
//
// Nothing is lost with a process that dies, and nothing has to be repaired by the program. An entry
// belongs to no process: it stays when the process that has stored it dies.
package kv
