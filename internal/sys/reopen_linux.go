//go:build !portable

package sys

// Weaker: see file.go.
var Weaker []string

// ReopensByName: see file.go.
const ReopensByName = false

func (fd FD) Reopen(write bool) (FD, error) { return OpenAny(fd.procPath(), write) }
