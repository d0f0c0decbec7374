package docs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/shmembox/shmem"

// packages are what the blocks can import, by the name that they use.
var packages = map[string]string{
	"shmem": module, "psync": module + "/psync", "queue": module + "/queue",
	"topic": module + "/topic", "limit": module + "/limit",
	"kv":           module + "/kv",
	"fiberstorage": module + "/kv/fiberstorage",
	"metrics":      module + "/metrics",
	"rpc":          module + "/rpc",
	"blob":         module + "/blob",
	"inspect":      module + "/inspect", "shmemtest": module + "/shmemtest",
	"atomic": "sync/atomic", "bufio": "bufio", "binary": "encoding/binary", "context": "context",
	"errors": "errors", "exec": "os/exec", "filepath": "path/filepath", "flag": "flag", "fmt": "fmt",
	"fs": "io/fs", "http": "net/http", "io": "io", "json": "encoding/json", "log": "log", "net": "net", "os": "os",
	"signal": "os/signal", "slices": "slices", "slog": "log/slog", "strconv": "strconv", "strings": "strings",
	"sync": "sync", "syscall": "syscall", "testing": "testing", "time": "time",
}

// runComment is before a block that is a test: it is run as well.
const runComment = "go: file, run"

// A checker type-checks blocks against the packages as they are built now.
type checker struct {
	fset     *token.FileSet
	importer types.Importer
}

var made *checker // by the first test that needs one

func newChecker(t *testing.T) *checker {
	t.Helper()
	if made != nil {
		return made
	}
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	for _, p := range packages {
		args = append(args, p)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exports := map[string]string{}
	for dec := json.NewDecoder(out); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	c := &checker{fset: token.NewFileSet()}
	c.importer = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	made = c
	return c
}

func TestGoBlocks(t *testing.T) {
	c := newChecker(t)
	blocks := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if b.lang != "go" {
				continue
			}
			blocks++
			for _, err := range c.check(b) {
				t.Error(err)
			}
		}
	}
	if blocks < 20 {
		t.Errorf("only %d Go blocks were found", blocks)
	}
}

// check returns what is wrong with a block.
func (c *checker) check(b block) []error {
	files, offset, err := c.parse(b)
	if err != nil {
		return []error{err}
	}
	at := func(p token.Pos) string {
		return fmt.Sprintf("%s:%d", b.file, b.line+1+c.fset.Position(p).Line-offset)
	}
	var all []error
	info := &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{},
		Defs:  map[*ast.Ident]types.Object{},
		Uses:  map[*ast.Ident]types.Object{},
	}
	conf := types.Config{Importer: c.importer, Error: func(err error) {
		var te types.Error
		if errors.As(err, &te) && !isWhole(b) && excused(te.Msg) {
			return
		}
		if errors.As(err, &te) {
			err = fmt.Errorf("%s: %s", at(te.Pos), te.Msg)
		}
		all = append(all, err)
	}}
	_, _ = conf.Check("main", c.fset, files, info) // its error is the first of those above
	for _, l := range lostErrors(files[0], info) {
		all = append(all, fmt.Errorf("%s: %s", at(l.pos), l.what))
	}
	return all
}

// parse returns the block as a file, and the line of the file on which its first line is. If the
// block is not whole, the second file has the types of the page, and the third is the prelude.
func (c *checker) parse(b block) (files []*ast.File, line int, err error) {
	wrapped, line, err := wrap(b)
	if err != nil {
		return nil, 0, err
	}
	name := fmt.Sprintf("%s:%d", b.file, b.line)
	const mode = parser.SkipObjectResolution | parser.ParseComments
	file, err := parser.ParseFile(c.fset, name, wrapped, mode)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	addImports(file)
	files = []*ast.File{file}
	if !isWhole(b) {
		page, err := c.page(b)
		if err != nil {
			return nil, 0, err
		}
		prelude, err := c.prelude(page)
		if err != nil {
			return nil, 0, err
		}
		redeclare(page, file)
		remove(prelude, file)
		for _, f := range []*ast.File{page, prelude} {
			addImports(f)
			files = append(files, f)
		}
	}
	return files, line, nil
}

func isWhole(b block) bool { return strings.HasPrefix(strings.TrimSpace(b.text), "package ") }

// wrap makes a file of a block, and returns the line on which the block's first line is.
func wrap(b block) (source string, line int, err error) {
	switch {
	case isWhole(b):
		return b.text, 1, nil
	case b.comment == "go: file", b.comment == runComment:
		return "package main\n" + b.text, 2, nil
	case b.comment == "go: body":
		const head, tail = "package main\nfunc _(ctx context.Context) error {\n", "\nreturn nil\n}\n"
		return head + b.text + tail, 3, nil
	}
	return "", 0, fmt.Errorf("%s:%d: no wrapper is named before the block: %q",
		b.file, b.line, b.comment)
}

// excused reports whether an error of the compiler is no fault of a block that is a part of a
// program: a variable that the next part would use. An error must be used.
func excused(msg string) bool {
	name, ok := strings.CutPrefix(msg, "declared and not used: ")
	return ok && name != "err"
}

// addImports adds the imports of packages that the file mentions and does not import.
func addImports(file *ast.File) {
	if len(file.Imports) > 0 {
		return
	}
	var used []string
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && packages[x.Name] != "" && !slices.Contains(used, x.Name) {
				used = append(used, x.Name)
			}
		}
		return true
	})
	var d ast.GenDecl
	d.Tok = token.IMPORT
	for _, u := range used {
		spec := &ast.ImportSpec{Path: &ast.BasicLit{Kind: token.STRING, Value: `"` + packages[u] + `"`}}
		if path.Base(packages[u]) != u {
			spec.Name = ast.NewIdent(u)
		}
		d.Specs = append(d.Specs, spec)
		file.Imports = append(file.Imports, spec)
	}
	if len(used) > 0 {
		file.Decls = append([]ast.Decl{&d}, file.Decls...)
	}
}

// page returns the types that the page declares before the block, with their methods. Of several
// types of one name it is the last one.
func (c *checker) page(b block) (*ast.File, error) {
	all := &ast.File{Name: ast.NewIdent("main")}
	for _, e := range b.before {
		if e.lang != "go" || isWhole(e) || e.comment != "go: file" {
			continue
		}
		source, _, err := wrap(e)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%s:%d", e.file, e.line)
		file, err := parser.ParseFile(c.fset, name, source, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		file.Decls = slices.DeleteFunc(file.Decls, func(d ast.Decl) bool { return !ofType(d) })
		redeclare(all, file)
		all.Decls = append(all.Decls, file.Decls...)
	}
	return all, nil
}

// redeclare takes out of the page what the file declares itself, and all methods of its types.
func redeclare(page, file *ast.File) {
	remove(page, file)
	own := names(file)
	page.Decls = slices.DeleteFunc(page.Decls, func(d ast.Decl) bool {
		typ, _, method := strings.Cut(declared(d)[0], ".")
		return method && own[typ]
	})
}

// ofType reports whether d declares types or a method.
func ofType(d ast.Decl) bool {
	if f, ok := d.(*ast.FuncDecl); ok {
		return f.Recv != nil
	}
	return d.(*ast.GenDecl).Tok == token.TYPE
}

// prelude returns testdata/prelude.go without what the page declares itself.
func (c *checker) prelude(page *ast.File) (*ast.File, error) {
	p, err := parser.ParseFile(c.fset, "testdata/prelude.go", nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	p.Name.Name = page.Name.Name
	remove(p, page)
	return p, nil
}

// remove takes out of f what the file declares itself.
func remove(f, file *ast.File) {
	own := names(file)
	f.Decls = slices.DeleteFunc(f.Decls, func(d ast.Decl) bool {
		return slices.ContainsFunc(declared(d), func(n string) bool { return own[n] })
	})
}

// names returns what declared returns for all declarations of the file.
func names(file *ast.File) map[string]bool {
	all := map[string]bool{}
	for _, d := range file.Decls {
		for _, n := range declared(d) {
			all[n] = true
		}
	}
	return all
}

// declared returns the names of a declaration. That of a method has the type of its receiver before
// a dot.
func declared(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		x := d.Recv.List[0].Type
		if star, ok := x.(*ast.StarExpr); ok {
			x = star.X
		}
		if id, ok := x.(*ast.Ident); ok {
			return []string{id.Name + "." + d.Name.Name}
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names = append(names, n.Name)
				}
			}
		}
	}
	return names
}

// A lost is a place where an error is lost.
type lost struct {
	pos  token.Pos
	what string
}

// lostErrors finds errors that a block takes no notice of: a call whose error is not assigned, or
// is assigned to _, and an assignment to an error variable that the next statement does not use.
// Deferred calls, and printing, are let go.
func lostErrors(file *ast.File, info *types.Info) (all []lost) {
	follows := map[*ast.BlockStmt]ast.Stmt{} // what comes after the body of an if
	ast.Inspect(file, func(n ast.Node) bool {
		var list []ast.Stmt
		var after ast.Stmt
		switch n := n.(type) {
		case *ast.BlockStmt:
			list, after = n.List, follows[n]
		case *ast.CaseClause:
			list = n.Body
		case *ast.CommClause:
			list = n.Body
		case *ast.RangeStmt:
			if v, ok := n.Value.(*ast.Ident); ok && isError(info.TypeOf(v)) &&
				(v.Name == "_" || len(n.Body.List) == 0 || !mentions(n.Body.List[0], info.ObjectOf(v), info)) {
				all = append(all, lost{n.Pos(), "the loop does not begin by looking at its error"})
			}
		}
		for i, s := range list {
			next := after
			if i+1 < len(list) {
				next = list[i+1]
			}
			if s, ok := s.(*ast.IfStmt); ok {
				follows[s.Body] = next
			}
			all = append(all, lostBy(s, next, info)...)
		}
		return true
	})
	return all
}

func lostBy(s, next ast.Stmt, info *types.Info) (all []lost) {
	switch s := s.(type) {
	case *ast.ExprStmt:
		call, ok := s.X.(*ast.CallExpr)
		if ok && givesError(info.TypeOf(call)) && !prints(call) {
			all = append(all, lost{s.Pos(), "the error of this call is lost"})
		}
	case *ast.AssignStmt:
		for i, l := range s.Lhs {
			id, ok := l.(*ast.Ident)
			if !ok {
				continue
			}
			if id.Name == "_" {
				if isError(assigned(s, i, info)) {
					all = append(all, lost{s.Pos(), "an error is assigned to _"})
				}
				continue
			}
			o := info.ObjectOf(id)
			if o != nil && isError(o.Type()) && (next == nil || !mentions(next, o, info)) {
				all = append(all, lost{s.Pos(), "the next statement does not look at the error"})
			}
		}
	}
	return all
}

// assigned returns the type of what is assigned to the left side i.
func assigned(s *ast.AssignStmt, i int, info *types.Info) types.Type {
	if len(s.Rhs) == len(s.Lhs) {
		return info.TypeOf(s.Rhs[i])
	}
	if tuple, ok := info.TypeOf(s.Rhs[0]).(*types.Tuple); ok && i < tuple.Len() {
		return tuple.At(i).Type()
	}
	return nil
}

func mentions(n ast.Node, o types.Object, info *types.Info) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && info.ObjectOf(id) == o {
			found = true
		}
		return !found
	})
	return found
}

func isError(t types.Type) bool {
	return t != nil && types.Identical(t, types.Universe.Lookup("error").Type())
}

func givesError(t types.Type) bool {
	if tuple, ok := t.(*types.Tuple); ok {
		for v := range tuple.Variables() {
			if isError(v.Type()) {
				return true
			}
		}
	}
	return isError(t)
}

func prints(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "fmt"
}
