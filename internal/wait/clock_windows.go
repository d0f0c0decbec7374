package wait

import (
	"time"

	"github.com/shmembox/shmem/internal/sys"
)

// processStart is the origin of times that are stored as numbers.
var processStart = sys.Ticks()

// clock returns the time since processStart, in steps that are short enough to end a spin.
func clock() time.Duration { return sys.Ticks() - processStart }
