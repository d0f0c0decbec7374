package rewrite

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// findState finds the package variables that have state: those that the code changes, and those
// whose first value comes from a package that is replaced.
func (t *translation) findState(p *pkg) {
	mark := func(e ast.Expr) {
		if v := rootVariable(p, e); v != nil {
			t.state[v] = ""
		}
	}
	for _, file := range p.files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.AssignStmt:
				if x.Tok != token.DEFINE {
					for _, e := range x.Lhs {
						mark(e)
					}
				}
			case *ast.IncDecStmt:
				mark(x.X)
			case *ast.UnaryExpr:
				if x.Op == token.AND {
					mark(x.X)
				}
			case *ast.SelectorExpr:
				if s := p.info.Selections[x]; s != nil && s.Kind() == types.MethodVal &&
					pointerMethod(s) {
					mark(x.X)
				}
			case *ast.CallExpr:
				if id, ok := x.Fun.(*ast.Ident); ok &&
					slices.Contains([]string{"delete", "clear"}, id.Name) && len(x.Args) > 0 {
					mark(x.Args[0])
				}
			case *ast.ValueSpec:
				t.findInitial(p, x)
			}
			return true
		})
	}
}

// nameState names the variables of the packages that are translated; the others are left as they
// are.
func (t *translation) nameState() {
	for v := range t.state {
		if slices.ContainsFunc(t.list, func(p *pkg) bool { return p.types == v.Pkg() }) {
			t.state[v] = strings.TrimPrefix(v.Pkg().Path(), module+"/") + "." + v.Name()
		}
	}
}

// findInitial marks variables by their first value, and those that scenarios set.
func (t *translation) findInitial(p *pkg, x *ast.ValueSpec) {
	for i, id := range x.Names {
		v, ok := p.info.Defs[id].(*types.Var)
		if !ok || v.Parent() != p.types.Scope() {
			continue
		}
		name := strings.TrimPrefix(p.ImportPath, module+"/") + "." + id.Name
		if slices.Contains(settable, name) || i < len(x.Values) && usesReplaced(p, x.Values[i]) &&
			v.Type().String() != "error" {
			t.state[v] = ""
		}
	}
}

func usesReplaced(p *pkg, e ast.Expr) (uses bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if name, ok := p.info.Uses[id].(*types.PkgName); ok &&
				replaced[name.Imported().Path()] != "" {
				uses = true
			}
		}
		return true
	})
	return uses
}

// pointerMethod reports whether a method is called by the address of its operand.
func pointerMethod(s *types.Selection) bool {
	if _, ok := s.Recv().Underlying().(*types.Pointer); ok {
		return false
	}
	f, ok := s.Obj().(*types.Func)
	if !ok {
		return false
	}
	_, ok = f.Signature().Recv().Type().(*types.Pointer)
	return ok
}

// rootVariable is the package variable that an operand is a part of, nil if there is none.
func rootVariable(p *pkg, e ast.Expr) *types.Var {
	for {
		switch x := ast.Unparen(e).(type) {
		case *ast.Ident:
			return packageVariable(p.info.Uses[x])
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.SelectorExpr:
			if v := packageVariable(p.info.Uses[x.Sel]); v != nil {
				return v
			}
			if t := p.info.TypeOf(x.X); t == nil {
				return nil
			} else if _, ok := t.Underlying().(*types.Pointer); ok {
				return nil
			}
			e = x.X
		default:
			return nil
		}
	}
}

func packageVariable(o types.Object) *types.Var {
	v, ok := o.(*types.Var)
	if !ok || v.Pkg() == nil || v.Parent() != v.Pkg().Scope() || v.Type().String() == "error" {
		return nil
	}
	return v
}

// variables translates the declarations of variables with state.
func (f *file) variables() {
	for _, d := range f.ast.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, s := range g.Specs {
			x := s.(*ast.ValueSpec)
			for _, id := range x.Names {
				if v, ok := f.p.info.Defs[id].(*types.Var); ok && f.state[v] != "" {
					f.declaration(x, v)
				}
			}
		}
	}
}

func (f *file) declaration(x *ast.ValueSpec, v *types.Var) {
	if len(x.Names) > 1 {
		f.refuse(x, "variables with state are declared one by one")
		return
	}
	typ := types.TypeString(v.Type(), func(p *types.Package) string { return f.qualifier(x, p) })
	begin := " = " + name + ".PerProcess(" + strconv.Quote(f.state[v]) + ", "
	if len(x.Values) == 0 {
		f.replace(x.Names[0].End(), x.End(), " = "+name+".PerProcess["+typ+"]("+
			strconv.Quote(f.state[v])+", nil)")
		return
	}
	f.replace(x.Names[0].End(), x.Values[0].Pos(), begin+"func(p *"+typ+") { *p = ")
	f.replace(x.Values[0].End(), x.Values[0].End(), " })")
}

// qualifier is the name by which the file imports a package.
func (f *file) qualifier(n ast.Node, p *types.Package) string {
	if p == f.p.types {
		return ""
	}
	for _, s := range f.ast.Imports {
		if path, _ := strconv.Unquote(s.Path.Value); path == p.Path() {
			if s.Name != nil {
				return s.Name.Name
			}
			return p.Name()
		}
	}
	f.refuse(n, "the variable's type needs package %s, which the file does not import", p.Path())
	return p.Name()
}

// variable translates a use of a variable with state.
func (f *file) variable(id *ast.Ident) {
	v, ok := f.p.info.Uses[id].(*types.Var)
	if !ok || f.state[v] == "" {
		return
	}
	from := id.Pos()
	if v.Pkg() != f.p.types { // pkg.Name
		from = f.qualified(id)
	}
	f.open(from, "(*")
	f.replace(id.End(), id.End(), ".P())")
}

// qualified is where the package's name before an identifier begins.
func (f *file) qualified(id *ast.Ident) token.Pos {
	pos := id.Pos()
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel == id {
			pos = s.Pos()
		}
		return true
	})
	return pos
}
