package sys

import "golang.org/x/sys/cpu"

// FastStrings: the processor's own instruction for copies is the fast way to copy a few kilobytes and more.
var FastStrings = cpu.X86.HasERMS
