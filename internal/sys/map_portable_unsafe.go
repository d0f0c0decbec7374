//go:build darwin || (linux && portable)

package sys

import "unsafe"

// There is no such flag: Reserve looks where the space begins.
const fixedNoReplace = 0

func Populate(unsafe.Pointer, uintptr, bool) bool { return false }

func HugePages(unsafe.Pointer, uintptr) {}
