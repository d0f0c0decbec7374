//go:build !amd64 || race

package mem

import "unsafe"

const blocks = false

func copyBlocks(dst, src unsafe.Pointer, n uintptr) { panic("not on this machine") }

const stringsFrom = ^uintptr(0)

func copyString(dst, src unsafe.Pointer, n uintptr) { panic("not on this machine") }

func prefetch(unsafe.Pointer)      {}
func prefetchWrite(unsafe.Pointer) {}
