//go:build !windows

package wait

import "time"

// processStart is the origin of times that are stored as numbers.
var processStart = time.Now()

// clock returns the time since processStart. It costs half of what time.Now does.
func clock() time.Duration { return time.Since(processStart) }
