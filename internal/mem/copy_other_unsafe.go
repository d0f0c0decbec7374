//go:build !amd64 || race

package mem

import "unsafe"

const blocks = false

func copyBlocks(dst, src unsafe.Pointer, n uintptr) { panic("not on this machine") }

// load copies n bytes, word by word. src is aligned to words.
func load(dst, src unsafe.Pointer, n uintptr) {
	b := unsafe.Slice((*byte)(dst), n)
	for ; uintptr(len(b)) >= word; b, src = b[word:], unsafe.Add(src, word) {
		putLocal(b, loadWord(src))
	}
	if len(b) > 0 {
		var last [8]byte
		putLocal(last[:], loadWord(src))
		copy(b, last[:])
	}
}

const stringsFrom = ^uintptr(0)

func copyString(dst, src unsafe.Pointer, n uintptr) { panic("not on this machine") }

func prefetch(unsafe.Pointer)      {}
func prefetchWrite(unsafe.Pointer) {}
