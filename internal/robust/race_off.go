//go:build !race

package robust

import "sync/atomic"

// RaceEnabled reports whether this is a race build.
const RaceEnabled = false

// Acquired tells the race detector that this goroutine sees what others did before Releasing of the
// same word.
func Acquired(Object, *atomic.Uint32) {}

// Releasing tells the race detector that goroutines that acquire the word later see what this one
// did.
func Releasing(Object, *atomic.Uint32) {}

// Hide hides the atomic operations of this goroutine from the race detector, until Unhide.
func Hide() {}

// Unhide ends Hide.
func Unhide() {}
