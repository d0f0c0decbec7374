package world

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"
)

// Time is time.Time.
type Time = time.Time

// CPUs is Config.CPUs.
func CPUs() int {
	if w == nil {
		return 1
	}
	return w.Config.CPUs
}

// Rand is the next random number of the library. They are the same in every run.
func Rand() uint64 {
	if w == nil {
		return 4
	}
	// SplitMix64 (Steele, Lea, Flood 2014).
	w.rand += 0x9e3779b97f4a7c15
	z := w.rand
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Range goes through a map in the order of its keys as text. Keys that are pointers have no order
// that is the same in every run: a map with two of them fails the run.
func Range[M ~map[K]V, K comparable, V any](m M) iter.Seq2[K, V] {
	type entry struct {
		text string
		key  K
	}
	var all []entry
	for k := range m {
		all = append(all, entry{fmt.Sprint(k), k})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.text, b.text) })
	return func(yield func(K, V) bool) {
		for _, e := range all {
			if v, ok := m[e.key]; ok && !yield(e.key, v) {
				return
			}
		}
	}
}
