package wait

import (
	"testing"
	"time"
)

// WithoutBackstop takes the backstop away: whoever is not rung waits for ever, or nearly.
func WithoutBackstop(t testing.TB) {
	backstop = time.Hour
	t.Cleanup(func() { backstop = Backstop })
}
