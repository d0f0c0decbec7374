package step

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// source returns the points that the package declares, in the order of their declarations, and the
// names of those without a comment.
func source(t *testing.T) (points []Point, bare []string) {
	for _, name := range []string{"step.go", "access.go", "psync.go", "queue.go", "limit.go", "table.go", "calls.go",
		"cache.go", "blob.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != "Point" {
				return true
			}
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			points = append(points, Point(text))
			if spec.Comment == nil {
				bare = append(bare, spec.Names[0].Name)
			}
			return true
		})
	}
	return points, bare
}

// TestLists: every point is in one list, in the order of the declarations, and has a name of its
// own and a comment. The kill tests go by the lists.
func TestLists(t *testing.T) {
	declared, bare := source(t)
	listed := slices.Concat(Lifecycle, Access, Psync, Queue, Topic, Limit, Map, Call, Cache, Blob)
	if !slices.Equal(declared, listed) {
		t.Errorf("declared: %v\nlisted:   %v", declared, listed)
	}
	if len(bare) > 0 {
		t.Errorf("without a comment: %v", bare)
	}
	sorted := slices.Sorted(slices.Values(listed))
	if unique := slices.Compact(slices.Clone(sorted)); len(unique) != len(sorted) {
		t.Errorf("a name stands for two points: %v", sorted)
	}
}

func TestHook(t *testing.T) {
	defer Hook(nil)
	if Hooked() {
		t.Error("hooked at first")
	}
	Reach(LockTaken)
	var reached []Point
	Hook(func(p Point) { reached = append(reached, p) })
	if !Hooked() {
		t.Error("not hooked")
	}
	Reach(LockTaken)
	Reach(UnlockFree)
	if want := []Point{LockTaken, UnlockFree}; !slices.Equal(reached, want) {
		t.Errorf("reached %v, want %v", reached, want)
	}
	if n := testing.AllocsPerRun(10, func() { reached = reached[:0]; Reach(LockTaken) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
