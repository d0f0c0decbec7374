//go:build !race

package robust

import "sync/atomic"

// RaceEnabled reports whether this is a race build.
const RaceEnabled = false

// Acquired tells the race detector that what was done before Releasing of the same word is seen now.
func Acquired(Object, *atomic.Uint32) {}

// Releasing tells the race detector that whoever acquires the word later sees what was done before.
func Releasing(Object, *atomic.Uint32) {}

// Hide hides what this goroutine does by atomic operations from the race detector, until Unhide.
func Hide() {}

// Unhide ends Hide.
func Unhide() {}
