// Package layout holds the contracts about bytes that more than one package relies on: how the
// payload of a queue and of a topic is laid out, and how a struct is composed at run time.
//
// It is pure: it describes types by [format.Type] and imports no other package of the module. The
// Go structs that package ring lays over these bytes are compared with it, field by field, in its
// tests. docs/format.md says the same for other languages.
package layout
