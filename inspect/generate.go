package inspect

import "github.com/shmembox/shmem/internal/gen"

// A Language is a programming language that Generate writes.
type Language string

// Languages.
const (
	C Language = "c" // a header
	// a module; it needs the standard library, and uses numpy if it is installed
	Python Language = "python"
	Rust   Language = "rust" // a module; it needs std only
	Go     Language = "go"   // the declaration of the type
)

// Generate writes code that attaches to a segment with a value of this type. The type comes from a
// live segment (Observer.Type) or from a Go type (TypeFor). ident is the name of the type in the
// code; "" means its name in Go.
//
// The code asserts every offset and size, and refuses a segment with another fingerprint, unless
// its type has only fields appended to this one. In C, Python and Rust it loads consistent
// snapshots without a lock, and stores and updates under the box's own lock, as Box.Load, Store and
// Update do; docs/format.md describes the protocol. The C header is C++17 as well.
//
// Names that are no identifiers of the language, or mean something else there, are changed: the
// schema of a segment that was made to do harm gives no other code than declarations.
//
// For a topic, Go code has the type of its messages, for topic.Attach, and Python code follows the
// messages. C and Rust code for a topic, and any code for a queue, is an error: a Store would
// overwrite what other processes send.
func (t *Type) Generate(lang Language, ident string) ([]byte, error) {
	return gen.Generate(string(lang), t.t, ident)
}
