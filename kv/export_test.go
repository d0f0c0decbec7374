package kv

import "time"

// SetClock replaces the clock by which entries expire, and how long a watch waits until it asks it
// again, until the test calls restore. No map or cache may be in use meanwhile that another test has
// opened.
func SetClock(clock func() int64, look time.Duration) (restore func()) {
	wasNow, wasLook := now, longestLook
	now, longestLook = clock, look
	return func() { now, longestLook = wasNow, wasLook }
}
