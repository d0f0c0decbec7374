// Package access reads and writes the words of shared memory, for structures that are nothing but
// words. Each access has a name, and a test can step in before it. See accesstest.
package access

import "sync/atomic"

// Hook, when set, is called before every access, with its name and the word. Tests stop, reorder
// and kill there.
var Hook func(step string, w *atomic.Uint64)

// Load returns the word.
func Load(step string, w *atomic.Uint64) uint64 {
	if Hook != nil {
		Hook(step, w)
	}
	return w.Load()
}

// Store sets the word, in the order of all atomic operations.
func Store(step string, w *atomic.Uint64, v uint64) {
	if Hook != nil {
		Hook(step, w)
	}
	w.Store(v)
}

// Release sets the word without waiting for the cache line: other processes see what was written
// before it first, but a later load may pass it.
func Release(step string, w *atomic.Uint64, v uint64) {
	if Hook != nil {
		Hook(step, w)
	}
	storeRelease(w, v)
}

// StoreRelease is Release without a name, where no test steps in.
func StoreRelease(w *atomic.Uint64, v uint64) { storeRelease(w, v) }

// CAS sets the word to next if it is old, and reports whether it did.
func CAS(step string, w *atomic.Uint64, old, next uint64) bool {
	if Hook != nil {
		Hook(step, w)
	}
	return w.CompareAndSwap(old, next)
}

// Add adds n, and returns the sum.
func Add(step string, w *atomic.Uint64, n uint64) uint64 {
	if Hook != nil {
		Hook(step, w)
	}
	return w.Add(n)
}

// Or sets bits.
func Or(step string, w *atomic.Uint64, bits uint64) {
	if Hook != nil {
		Hook(step, w)
	}
	w.Or(bits)
}

// AndNot clears bits.
func AndNot(step string, w *atomic.Uint64, bits uint64) {
	if Hook != nil {
		Hook(step, w)
	}
	w.And(^bits)
}
