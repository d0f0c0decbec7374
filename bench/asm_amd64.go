package main

import "sync/atomic"

// pause tells the CPU that this is a spinning loop.
func pause()

// storeRelease is a plain store, seen after all that came before it.
//
//go:noescape
func storeRelease(w *atomic.Uint64, v uint64)
