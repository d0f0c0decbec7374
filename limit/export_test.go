package limit

import "sync/atomic"

// Words returns the words of a bucket.
func (b *Bucket) Words() (boot, full *atomic.Uint64) { return &b.boot, &b.full }
