module github.com/shmembox/shmem

go 1.26.0

// The library itself needs golang.org/x/sys alone.
require golang.org/x/sys v0.49.0 // internal/sys

require (
	github.com/alecthomas/kong v1.17.0 // cmd/shmem: flags
	github.com/anishathalye/porcupine v1.3.1 // tests: linearizability
	github.com/rogpeppe/go-internal v1.16.0 // tests of cmd/shmem: testscript
	golang.org/x/time v0.16.0 // tests of limit: what it is compared with
)

require golang.org/x/tools v0.26.0 // indirect; of go-internal
