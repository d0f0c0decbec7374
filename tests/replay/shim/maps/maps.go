//go:build linux && (amd64 || arm64)

// Package maps stands in for maps.
package maps

import (
	"iter"

	"github.com/shmembox/shmem/tests/replay/world"
)

// Values is maps.Values, in an order that is the same in every run.
func Values[M ~map[K]V, K comparable, V any](m M) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range world.Range(m) {
			if !yield(v) {
				return
			}
		}
	}
}

// Keys is maps.Keys, in the same order.
func Keys[M ~map[K]V, K comparable, V any](m M) iter.Seq[K] {
	return func(yield func(K) bool) {
		for k := range world.Range(m) {
			if !yield(k) {
				return
			}
		}
	}
}
