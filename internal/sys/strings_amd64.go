package sys

import "golang.org/x/sys/cpu"

// FastStrings reports whether REP MOVSB is the fast way to copy some kilobytes or more.
var FastStrings = cpu.X86.HasERMS
