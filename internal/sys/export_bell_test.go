//go:build darwin || (linux && portable)

package sys

// Sweep sweeps the bells of this user.
func Sweep() { sweepBells(bellPath()) }
