// Package layout holds the contracts about bytes that more than one package relies on: how the
// payload of a queue and of a topic is laid out, how a struct is composed at run time, the words of
// the locks of package psync, and the hash by which a waker finds waiters.
//
// It is pure: it describes types by [format.Type] and imports no other package of the module. The
// Go structs that packages ring and psync have for these bytes are compared with it, field by
// field, in tests. docs/format.md says the same for other languages. The control block is in
// package format.
package layout
