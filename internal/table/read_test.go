package table

import (
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/shmembox/shmem/internal/access"
)

// TestReadInSteps: Read, which has no hooks, has the text of readInSteps, through which the explorer
// steps, except for the hooks.
func TestReadInSteps(t *testing.T) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "words_unsafe.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, d := range f.Decls {
		d, ok := d.(*ast.FuncDecl)
		if !ok || d.Name.Name != "Read" && d.Name.Name != "readInSteps" {
			continue
		}
		list := d.Body.List
		if d.Name.Name == "Read" {
			list = list[1:] // it asks whether there is a hook
		}
		var b strings.Builder
		for _, s := range list {
			ast.Inspect(s, withoutHook)
			if err := printer.Fprint(&b, token.NewFileSet(), s); err != nil {
				t.Fatal(err)
			}
			b.WriteByte('\n')
		}
		texts[d.Name.Name] = strings.Join(strings.Fields(b.String()), " ")
	}
	a, b := texts["Read"], texts["readInSteps"]
	b = strings.ReplaceAll(b, "copyInSteps", "copyOut")
	if a != b || len(a) < 500 {
		t.Errorf("Read:\n%s\nreadInSteps:\n%s", a, b)
	}
}

// withoutHook turns access.Load(name, p) into p.Load(). Where p is &x it is x.Load().
func withoutHook(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return true
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) != 2 || sel.Sel.Name != "Load" {
		return true
	}
	p := call.Args[1]
	if u, ok := p.(*ast.UnaryExpr); ok && u.Op == token.AND {
		p = u.X
	}
	call.Fun, call.Args = &ast.SelectorExpr{X: p, Sel: ast.NewIdent("Load")}, nil
	return true
}

// TestReadSizes: values of every length are copied, by Read with and without hooks, and no byte
// behind them is written.
func TestReadSizes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for size := 1; size < 100; size++ {
		s, err := ShapeOf(3, 16, size)
		if err != nil {
			t.Fatal(err)
		}
		m := newMemory(s)
		c := m.caller(&world{}, 1, false)
		key := []uint64{r.Uint64(), r.Uint64()}
		hash := Hash(1, key)
		at, err := c.t.Lookup(hash, key)
		if err != nil {
			t.Fatal(err)
		}
		change, err := c.t.Begin(at, key, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.ValueWords() {
			m.parts.Cells[c.t.ValueAt(change.Cell)/8+i].Store(r.Uint64())
		}
		c.t.Commit(&change)
		stored := unsafe.Slice((*byte)(unsafe.Pointer(&m.parts.Cells[c.t.ValueAt(change.Cell)/8])), size)
		for _, hooked := range []bool{false, true} {
			loads := 0
			if hooked {
				access.Hook = func(string, *atomic.Uint64) { loads++ }
			}
			b := make([]byte, size+8)
			found := c.t.Read(&key[0], &b[0])
			access.Hook = nil
			if !found || string(b[:size]) != string(stored) || string(b[size:]) != strings.Repeat("\x00", 8) ||
				hooked != (loads > 0) {
				t.Fatalf("%d bytes, hooked %v (%d loads): %v %x, want %x", size, hooked, loads, found, b, stored)
			}
		}
		key[1]++
		if c.t.Read(&key[0], new(byte)) {
			t.Error("another key is found")
		}
	}
}
