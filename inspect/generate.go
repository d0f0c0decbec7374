package inspect

import "github.com/shmembox/shmem/internal/gen"

// A Language is one that code can be generated for.
type Language string

// Languages.
const (
	C      Language = "c"      // a header
	Python Language = "python" // a module: the standard library, and numpy where it is
	Rust   Language = "rust"   // a module: std alone
	Go     Language = "go"     // the type's declaration
)

// Generate writes code that joins a segment with a value of this type, from a live segment's type or
// from a Go type (TypeFor). ident is what the type is called there; "": as in Go. The code asserts
// every offset and size, and refuses a segment with another fingerprint. In C, Python and Rust it
// loads consistent snapshots without a lock and stores under the box's own lock, as Box.Load and
// Box.Store do; docs/format.md tells the protocol. Of a topic Go gets the type of its messages, for topic.Attach, and
// Python code that follows it; other languages get an error, and so do all for a queue: code that stores would
// overwrite what others are sending.
func (t *Type) Generate(lang Language, ident string) ([]byte, error) {
	return gen.Generate(string(lang), t.t, ident)
}
