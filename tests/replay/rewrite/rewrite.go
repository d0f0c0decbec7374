// Package rewrite translates the library for the simulator, as an overlay for the go command. The
// source itself is not changed.
//
//   - Imports of packages that wait, know the time, or call the kernel become imports of shims.
//   - go statements, channels, select and loops over maps become calls of package world.
//   - Package variables that have state become one variable for each simulated process.
//
// All edits keep the numbers of lines. What cannot be translated is an error with file and line.
package rewrite

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A pkg is a package of the library.
type pkg struct {
	ImportPath, Dir, Export string
	Standard                bool
	Module                  *struct{ Path string }
	GoFiles, SFiles         []string

	names []string // of the files, relative to the module
	files []*ast.File
	src   [][]byte
	types *types.Package
	info  *types.Info
}

// A translation is one run of the rewriter.
type translation struct {
	root string // of the module
	set  *token.FileSet
	list []*pkg
	// package variables that each process has its own of, with their names
	state  map[*types.Var]string
	edited map[string][]byte // files with edits applied
	out    map[string]string // the overlay: file to its replacement
	dir    string
	errs   []error
}

// Overlay writes the files into dir that replace those of the packages that target, a package of
// this module, needs, and returns the name of the overlay file. root is the module's directory.
func Overlay(root, dir, target string, edits []Edit) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	t := &translation{
		root: root, dir: dir, set: token.NewFileSet(), state: map[*types.Var]string{},
		edited: map[string][]byte{}, out: map[string]string{},
	}
	if err := t.edit(slices.Concat(adjusted, t.possible(faster), edits)); err != nil {
		return "", err
	}
	if err := t.load(target); err != nil {
		return "", err
	}
	for _, p := range t.list {
		t.findState(p)
	}
	t.nameState()
	for _, p := range t.list {
		for i := range p.files {
			t.rewrite(p, i)
		}
	}
	if err := errors.Join(t.errs...); err != nil {
		return "", err
	}
	return t.write()
}

// Build builds target with an overlay in dir, as the program bin.
func Build(root, dir, target, bin string, edits []Edit) error {
	overlay, err := Overlay(root, dir, target, edits)
	if err != nil {
		return err
	}
	_, err = command(root, nil, "go", "build", "-overlay", overlay, "-o", bin, target)
	return err
}

func command(dir string, env []string, name string, args ...string) ([]byte, error) {
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	out, err := c.Output()
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, e.Stderr)
	}
	return out, err
}

// edit applies edits to the source.
func (t *translation) edit(edits []Edit) error {
	for _, e := range edits {
		path := filepath.Join(t.root, e.File)
		src, ok := t.edited[path]
		if !ok {
			var err error
			if src, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		if n := strings.Count(string(src), e.Old); n != 1 {
			return fmt.Errorf("%s: %d places, not one, have %q", e.File, n, e.Old)
		}
		t.edited[path] = []byte(strings.Replace(string(src), e.Old, e.New, 1))
	}
	return nil
}

// possible are the edits whose old text is there.
func (t *translation) possible(edits []Edit) []Edit {
	return slices.DeleteFunc(slices.Clone(edits), func(e Edit) bool {
		src, err := os.ReadFile(filepath.Join(t.root, e.File))
		return err != nil || !strings.Contains(string(src), e.Old)
	})
}

func (t *translation) source(path string) ([]byte, error) {
	if src, ok := t.edited[path]; ok {
		return src, nil
	}
	return os.ReadFile(path)
}

// goList is the go command's list of packages.
func goList(root string, env []string, args ...string) ([]*pkg, error) {
	args = append([]string{"list", "-json=ImportPath,Dir,Export,Standard,Module,GoFiles,SFiles"},
		args...)
	out, err := command(root, env, "go", args...)
	if err != nil {
		return nil, err
	}
	var list []*pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := new(pkg)
		if err := d.Decode(p); err == io.EOF {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
}

func touched(p *pkg) bool {
	return p.Module != nil && p.Module.Path == module &&
		!slices.ContainsFunc(untouched, func(u string) bool {
			return p.ImportPath == u || strings.HasSuffix(u, "/") &&
				strings.HasPrefix(p.ImportPath, u)
		})
}

// load parses and checks the packages, with the files that machine has.
func (t *translation) load(target string) error {
	all, err := goList(t.root, nil, "-deps", "-export", target) // in the order of dependencies
	if err != nil {
		return err
	}
	exports, ours := map[string]string{}, map[string]*types.Package{}
	var here []*pkg
	var paths []string
	for _, p := range all {
		exports[p.ImportPath] = p.Export
		if touched(p) {
			here, paths = append(here, p), append(paths, p.ImportPath)
		}
	}
	there, err := goList(t.root, []string{"GOARCH=" + machine, "CGO_ENABLED=0"}, paths...)
	if err != nil {
		return err
	}
	compiled := importer.ForCompiler(t.set, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	imp := importFunc(func(path string) (*types.Package, error) {
		if p := ours[path]; p != nil {
			return p, nil
		}
		return compiled.Import(path)
	})
	for _, h := range here {
		p := there[slices.IndexFunc(there, func(q *pkg) bool {
			return q.ImportPath == h.ImportPath
		})]
		t.drop(h, p)
		if err := t.check(p, imp); err != nil {
			return err
		}
		ours[p.ImportPath] = p.types
		t.list = append(t.list, p)
	}
	for path, src := range t.edited { // of packages that are not translated
		if _, ok := t.out[path]; !ok && !slices.ContainsFunc(t.list, func(p *pkg) bool {
			return p.Dir == filepath.Dir(path)
		}) {
			if err := t.put(path, src); err != nil {
				return err
			}
		}
	}
	return nil
}

type importFunc func(string) (*types.Package, error)

func (f importFunc) Import(path string) (*types.Package, error) { return f(path) }

// drop takes out the files that this machine has and the simulated one has not.
func (t *translation) drop(here, there *pkg) {
	for _, f := range slices.Concat(here.GoFiles, here.SFiles) {
		path := filepath.Join(here.Dir, f)
		rel, _ := filepath.Rel(t.root, path)
		if slices.Contains(dropped, filepath.ToSlash(rel)) {
			there.GoFiles = slices.DeleteFunc(there.GoFiles, func(g string) bool { return g == f })
		}
		if !slices.Contains(there.GoFiles, f) {
			t.out[path] = ""
		}
	}
}

func (t *translation) check(p *pkg, imp types.Importer) error {
	for _, f := range p.GoFiles {
		path := filepath.Join(p.Dir, f)
		src, err := t.source(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(t.set, path, src,
			parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		p.names, p.files, p.src = append(p.names, path), append(p.files, file), append(p.src, src)
	}
	p.info = &types.Info{
		Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{},
		Types:      map[ast.Expr]types.TypeAndValue{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	var err error
	conf := types.Config{Importer: imp, Sizes: types.SizesFor("gc", "amd64")}
	p.types, err = conf.Check(p.ImportPath, t.set, p.files, p.info)
	return err
}

func (t *translation) put(path string, src []byte) error {
	rel, err := filepath.Rel(t.root, path)
	if err != nil {
		return err
	}
	to := filepath.Join(t.dir, strings.ReplaceAll(rel, string(filepath.Separator), "__"))
	t.out[path] = to
	return os.WriteFile(to, src, 0o644)
}

func (t *translation) write() (string, error) {
	b, err := json.MarshalIndent(map[string]any{"Replace": t.out}, "", "\t")
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(t.dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o644)
}

func (t *translation) refuse(n ast.Node, format string, args ...any) {
	pos := t.set.Position(n.Pos())
	t.errs = append(t.errs,
		fmt.Errorf("%s:%d: %s", pos.Filename, pos.Line, fmt.Sprintf(format, args...)))
}

// A change replaces the bytes from..to of a file; from = to inserts. What opens a pair of
// insertions goes before what is inserted there already, what closes one behind it.
type change struct {
	from, to int
	text     string
	opens    bool
}

// before orders the changes at one place: what closes, what opens, then replacements.
func (c change) before(d change) int {
	rank := func(c change) int {
		switch {
		case c.to > c.from:
			return 2
		case c.opens:
			return 1
		}
		return 0
	}
	return cmp.Or(c.from-d.from, rank(c)-rank(d))
}

// A file is one file being rewritten.
type file struct {
	*translation
	p       *pkg
	ast     *ast.File
	src     []byte
	changes []change
	inner   map[ast.Node]bool // operations on channels that a select has taken over
}

func (f *file) off(p token.Pos) int { return f.set.Position(p).Offset }

func (f *file) replace(from, to token.Pos, text string) {
	f.changes = append(f.changes, change{f.off(from), f.off(to), text, false})
}

// open inserts text before what is inserted at p already.
func (f *file) open(p token.Pos, text string) {
	f.changes = slices.Insert(f.changes, 0, change{f.off(p), f.off(p), text, true})
}

// wrap puts text before and after a node.
func (f *file) wrap(n ast.Node, before, after string) {
	f.open(n.Pos(), before)
	f.replace(n.End(), n.End(), after)
}

// text is the source from..to with the changes so far.
func (f *file) text(from, to int) string {
	var in []change
	for _, c := range f.changes {
		if c.from >= from && c.to <= to {
			in = append(in, c)
		}
	}
	slices.SortStableFunc(in, change.before)
	var b strings.Builder
	at := from
	for _, c := range in {
		if c.from < at {
			continue // inside what was replaced as a whole
		}
		b.Write(f.src[at:c.from])
		b.WriteString(c.text)
		at = c.to
	}
	b.Write(f.src[at:to])
	return b.String()
}

// rewrite translates one file.
func (t *translation) rewrite(p *pkg, i int) {
	f := &file{translation: t, p: p, ast: p.files[i], src: p.src[i], inner: map[ast.Node]bool{}}
	f.imports()
	f.constraint()
	f.variables()
	var stack []ast.Node
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if n != nil {
			if s, ok := n.(*ast.SelectStmt); ok {
				f.claim(s)
			}
			stack = append(stack, n)
			return true
		}
		n = stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		f.node(n) // after its children
		return true
	})
	if len(f.changes) == 0 {
		if _, edited := t.edited[p.names[i]]; !edited {
			return
		}
	}
	out := f.text(0, len(f.src))
	if strings.Contains(out, name+".") && !strings.Contains(out, "; import "+name) {
		end := f.off(f.ast.Name.End())
		f.changes = append(f.changes,
			change{end, end, "; import " + name + " " + strconv.Quote(world), false})
		out = f.text(0, len(f.src))
	}
	if err := t.put(p.names[i], []byte(out)); err != nil {
		t.errs = append(t.errs, err)
	}
}

func (f *file) imports() {
	for _, s := range f.ast.Imports {
		path, _ := strconv.Unquote(s.Path.Value)
		if to := replaced[path]; to != "" {
			f.replace(s.Path.Pos(), s.Path.End(), strconv.Quote(to))
		}
	}
}

// constraint takes the build constraint out: which files are built is decided already.
func (f *file) constraint() {
	for _, g := range f.ast.Comments {
		for _, c := range g.List {
			if constraint.IsGoBuild(c.Text) && c.Pos() < f.ast.Package {
				f.replace(c.Pos(), c.End(), "//")
			}
		}
	}
}

func (f *file) builtin(e ast.Expr, name string) bool {
	id, ok := ast.Unparen(e).(*ast.Ident)
	if !ok {
		return false
	}
	b, ok := f.p.info.Uses[id].(*types.Builtin)
	return ok && b.Name() == name
}

// node translates one node whose children are translated already.
func (f *file) node(n ast.Node) {
	switch x := n.(type) {
	case *ast.Ident:
		f.variable(x)
	case *ast.SelectStmt:
		f.selects(x)
	case *ast.SendStmt:
		if !f.inner[x] {
			f.open(x.Chan.Pos(), name+".Send(")
			f.replace(x.Arrow, x.Arrow+2, ",")
			f.replace(x.Value.End(), x.Value.End(), ")")
		}
	case *ast.UnaryExpr:
		if x.Op == token.ARROW && !f.inner[x] {
			f.replace(x.OpPos, x.OpPos+2, name+".Recv(")
			f.replace(x.X.End(), x.X.End(), ")")
		}
	case *ast.AssignStmt:
		for _, e := range x.Rhs {
			f.refuseReceive(e)
		}
	case *ast.ReturnStmt:
		for _, e := range x.Results {
			f.refuseReceive(e)
		}
	case *ast.CallExpr:
		if f.builtin(x.Fun, "close") {
			f.replace(x.Fun.Pos(), x.Fun.End(), name+".Close")
		}
		for _, e := range x.Args {
			f.refuseReceive(e)
		}
	case *ast.GoStmt:
		f.goes(x)
	case *ast.RangeStmt:
		switch f.p.info.TypeOf(x.X).Underlying().(type) {
		case *types.Chan:
			f.refuse(x, "a loop over a channel is not translated")
		case *types.Map:
			f.wrap(x.X, name+".Range(", ")")
		}
	}
}

func (f *file) refuseReceive(e ast.Expr) {
	if u, ok := ast.Unparen(e).(*ast.UnaryExpr); ok && u.Op == token.ARROW {
		f.refuse(e, "the value of a receive is not translated")
	}
}

// goes translates a go statement. Function and arguments are evaluated at once.
func (f *file) goes(x *ast.GoStmt) {
	if len(x.Call.Args) == 0 {
		f.replace(x.Go, x.Call.Pos(), name+".Spawn(")
		f.replace(x.Call.Lparen, x.Call.Rparen+1, ")")
		return
	}
	if x.Call.Ellipsis.IsValid() {
		f.refuse(x, "a go statement with ... is not translated")
	}
	names := "replayf"
	var args []string
	for i := range x.Call.Args {
		args = append(args, "replay"+strconv.Itoa(i))
		names += ", " + args[i]
	}
	call := name + ".Spawn(func() { replayf(" + strings.Join(args, ", ") + ") }) }"
	f.replace(x.Go, x.Call.Pos(), "{ "+names+" := ")
	f.replace(x.Call.Lparen, x.Call.Lparen+1, ", ")
	f.replace(x.Call.Rparen, x.Call.Rparen+1, "; "+call)
}

// claim marks the channel operations of a select, which are not translated by themselves.
func (f *file) claim(x *ast.SelectStmt) {
	for _, c := range x.Body.List {
		switch s := c.(*ast.CommClause).Comm.(type) {
		case *ast.SendStmt:
			f.inner[s] = true
		case *ast.ExprStmt:
			f.inner[ast.Unparen(s.X)] = true
		case *ast.AssignStmt:
			f.inner[ast.Unparen(s.Rhs[0])] = true
			f.refuse(s, "a select that keeps what it receives is not translated")
		}
	}
}

// selects translates a select statement to a switch over the number of the case.
func (f *file) selects(x *ast.SelectStmt) {
	other, cases := "false", ""
	text := func(e ast.Expr) string { return f.text(f.off(e.Pos()), f.off(e.End())) }
	n := 0
	var last *ast.CommClause
	for _, c := range x.Body.List {
		clause := c.(*ast.CommClause)
		switch s := clause.Comm.(type) {
		case nil:
			other = "true"
			continue
		case *ast.SendStmt:
			cases += ", " + name + ".SendCase(" + text(s.Chan) + ", " + text(s.Value) + ")"
		case *ast.ExprStmt:
			cases += ", " + name + ".RecvCase(" + text(ast.Unparen(s.X).(*ast.UnaryExpr).X) + ")"
		}
		f.changes = slices.DeleteFunc(f.changes, func(c change) bool {
			return c.from >= f.off(clause.Case) && c.to <= f.off(clause.Colon)
		})
		f.replace(clause.Case, clause.Colon, "case "+strconv.Itoa(n))
		n++
		last = clause
	}
	// a switch ends a function, as a select does, only with a default
	if other == "false" && last != nil {
		f.changes[len(f.changes)-1].text = "default"
	}
	f.replace(x.Select, x.Body.Lbrace, "switch "+name+".Select("+other+cases+") ")
}
