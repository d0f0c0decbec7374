package gen

import (
	"bytes"
	"fmt"
	"go/format"
	"go/token"
	"slices"
	"strconv"
	"strings"

	schema "github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

// goNames are the names that no type can have: words, predeclared names, and packages.
const goNames = `
	break case chan const continue default defer else fallthrough for func go goto if import
	interface map package range return select struct switch type var
	any bool byte comparable complex64 complex128 error float32 float64 int int8 int16 int32 int64
	rune string uint uint8 uint16 uint32 uint64 uintptr true false iota nil append cap clear close
	complex copy delete imag len make max min new panic print println real recover
	init main atomic time unsafe shmem psync`

// goWords are the words of the language, which cannot name a field.
var goWords = set(`break case chan const continue default defer else fallthrough for func go goto if
	import interface map package range return select struct switch type var`)

// isVec reports whether t is a shmem.Vec: a length and an array, and nothing else.
func isVec(t *schema.Type) bool {
	if t.Kind != schema.Struct || !strings.HasPrefix(t.Name, "shmem.Vec[") || len(t.Fields) != 2 {
		return false
	}
	n, items := t.Fields[0], t.Fields[1]
	at := (4 + items.Type.Align - 1) / items.Type.Align * items.Type.Align
	return n.Name == "n" && n.Offset == 0 && n.Type.Kind == schema.Uint32 && !n.Type.Atomic &&
		items.Name == "items" && items.Type.Kind == schema.Array && items.Offset == at
}

// goType returns the type of a field. Types of this library and of sync/atomic are themselves.
func (g *generator) goType(t *schema.Type) string {
	switch {
	case t.Atomic:
		return g.goUse("atomic.") + map[schema.Kind]string{
			schema.Bool: "Bool", schema.Int32: "Int32", schema.Int64: "Int64",
			schema.Uint32: "Uint32", schema.Uint64: "Uint64", schema.Uintptr: "Uintptr",
		}[t.Kind]
	case t.Kind == schema.Array:
		return fmt.Sprintf("[%d]%s", t.Len, g.goType(t.Elem))
	case t.Kind == schema.Sync:
		return g.goUse("psync.") + strings.TrimPrefix(t.Name, "psync.")
	case isText(t):
		return fmt.Sprintf("%sText[[%d]byte]", g.goUse("shmem."), t.Size)
	case isVec(t):
		items := t.Fields[1].Type
		elem := g.goType(items.Elem)
		return fmt.Sprintf("%sVec[%s, [%d]%s]", g.goUse("shmem."), elem, items.Len, elem)
	case t.Kind == schema.Struct:
		return g.of[t]
	case t.Kind == schema.Int64 && t.Name == "time.Duration":
		return g.goUse("time.") + "Duration"
	}
	return t.Kind.String()
}

// goUse notes that the code needs a package, of which it returns the name with the dot.
func (g *generator) goUse(pkg string) string {
	g.used[pkg] = true
	return pkg
}

// collectGo is collect for Go, in which a shmem.Text and a shmem.Vec are not declared, but what is
// in a Vec is.
func (g *generator) collectGo(t *schema.Type, at string) {
	switch {
	case t.Kind == schema.Array:
		g.collectGo(t.Elem, at)
	case t.Kind != schema.Struct || g.of[t] != "" || isText(t) && t != g.root:
	case isVec(t) && t != g.root:
		g.collectGo(t.Fields[1].Type, at)
	case g.declare(t, at):
		for _, f := range t.Fields {
			g.collectGo(f.Type, g.of[t]+spell(f.Name))
		}
		g.order = append(g.order, t)
	}
}

// goAlign returns the alignment of a type in Go on this machine.
func goAlign(t *schema.Type) int {
	word := strconv.IntSize / 8
	switch t.Kind {
	case schema.Array:
		return goAlign(t.Elem)
	case schema.Struct:
		align := 1
		for _, f := range t.Fields {
			align = max(align, goAlign(f.Type))
		}
		return align
	case schema.Sync:
		return t.Align
	case schema.Complex64:
		return 4
	case schema.Complex128:
		return word
	}
	if t.Atomic {
		return t.Size
	}
	return min(t.Size, word)
}

// goPossible returns an error for a type that Go cannot declare with the same bytes.
func goPossible(t *schema.Type, at string) error {
	switch t.Kind {
	case schema.Array:
		return goPossible(t.Elem, at+"[]")
	case schema.Int, schema.Uint, schema.Uintptr:
		if 8*t.Size != strconv.IntSize {
			return fmt.Errorf("%s: %s of %d bytes: a machine of another word size made it", at,
				t.Kind, t.Size)
		}
	case schema.Sync:
		if size, align := layout.LockSize(t.Name); size != t.Size || align != t.Align {
			return fmt.Errorf("%s: no lock of this version: %q of %d bytes", at, comment(t.Name),
				t.Size)
		}
	case schema.Struct:
		for _, f := range t.Fields {
			at := at + "." + spell(f.Name)
			if n := goAlign(f.Type); f.Offset%n != 0 || t.Size%n != 0 {
				return fmt.Errorf("%s: at %d in a struct of %d bytes it is not aligned, "+
					"and Go aligns it to %d; use an array of bytes and encoding/binary",
					at, f.Offset, t.Size, n)
			}
			if err := goPossible(f.Type, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// golang writes the declaration of the type, and of the structs it uses, behind it. The library
// does the rest.
func (g *generator) golang() ([]byte, error) {
	if err := goPossible(g.root, g.ident); err != nil {
		return nil, err
	}
	g.used = map[string]bool{"unsafe.": true}
	g.collectGo(g.root, g.ident)
	slices.Reverse(g.order)
	if g.root.Kind != schema.Struct {
		g.f("// %s is %s in the segment.\ntype %s %s\n\n", g.ident, comment(g.root.Name), g.ident,
			g.goType(g.root))
	}
	for _, t := range g.order {
		g.goStruct(t)
	}
	g.goAsserts()
	return format.Source(append(g.goHead(), g.Bytes()...))
}

// goStruct declares a struct, with padding where Go's own alignment would leave less. A field whose
// name is no identifier gets another one, with which the segment cannot be opened: no Go program
// made it.
func (g *generator) goStruct(t *schema.Type) {
	g.f("// %s is %s in the segment, %d bytes.\ntype %s struct {\n", g.of[t], comment(t.Name),
		t.Size, g.of[t])
	end := 0
	pad := func(to, align int) {
		if at := (end + align - 1) / align * align; at != to {
			g.f("\t_ [%d]byte\n", to-end)
		}
	}
	for i, name := range goFields(t) {
		f := t.Fields[i]
		pad(f.Offset, goAlign(f.Type))
		g.f("\t%s %s // at %d", name, g.goType(f.Type), f.Offset)
		if name != f.Name {
			g.f("; in the segment %q", comment(f.Name))
		}
		g.f("\n")
		end = f.Offset + f.Type.Size
	}
	pad(t.Size, goAlign(t))
	g.f("}\n\n")
}

// goFields returns the names of the fields of a struct.
func goFields(t *schema.Type) []string {
	scope := newNamer()
	for _, f := range t.Fields {
		scope.taken[f.Name] = token.IsIdentifier(f.Name)
	}
	names := make([]string, len(t.Fields))
	for i, f := range t.Fields {
		if names[i] = f.Name; !token.IsIdentifier(f.Name) || f.Name == "_" {
			names[i] = scope.name(spell(f.Name), func(s string) bool { return goWords[s] })
		}
	}
	return names
}

// goAsserts writes assertions on every offset: an array of one element has no other index than 0.
func (g *generator) goAsserts() {
	g.f("// If an offset or the size changes, this does not compile.\n"+
		"var _ = [1]struct{}{}[unsafe.Sizeof(*new(%s))-%d]\n", g.ident, g.root.Size)
	for _, t := range g.order {
		for i, name := range goFields(t) {
			g.f("var _ = [1]struct{}{}[unsafe.Offsetof(new(%s).%s)-%d]\n", g.of[t], name,
				t.Fields[i].Offset)
		}
	}
}

// goHead returns what comes before the declarations: the imports that they need.
func (g *generator) goHead() []byte {
	var head bytes.Buffer
	head.WriteString("// Code generated by shmem gen go. It is yours to edit: " +
		"the schema is checked when a box is opened.\n\n")
	head.WriteString("package main\n\nimport (\n")
	for _, i := range []struct{ word, path string }{
		{"atomic.", "sync/atomic"}, {"time.", "time"}, {"unsafe.", "unsafe"},
		{"shmem.", "github.com/shmembox/shmem"}, {"psync.", "github.com/shmembox/shmem/psync"},
	} {
		if g.used[i.word] {
			fmt.Fprintf(&head, "\t%q\n", i.path)
		}
	}
	head.WriteString(")\n\n")
	return head.Bytes()
}
