//go:build !amd64

package main

import "sync/atomic"

func pause() {}

func storeRelease(w *atomic.Uint64, v uint64) { w.Store(v) }
