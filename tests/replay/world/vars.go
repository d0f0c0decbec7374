package world

import "slices"

// A Var is a package variable of the library. Each simulated process has its own, as each real one
// has.
type Var[T any] struct {
	name    string
	n       int // its number
	set     func(*T)
	program *T // as the init functions of the program left it
}

// varNames are the names of all variables, in the order of their numbers.
var varNames []string

// IsVar reports whether there is a package variable of that name.
func IsVar(name string) bool { return slices.Contains(varNames, name) }

// PerProcess declares the variable of that name. set gives it its first value; it may be nil.
func PerProcess[T any](name string, set func(*T)) *Var[T] {
	v := &Var[T]{name: name, n: len(varNames), set: set}
	varNames = append(varNames, name)
	return v
}

// P is the variable of the running process; in init functions, and outside of runs, the one that
// every process begins with.
func (v *Var[T]) P() *T {
	p := Current()
	if p == nil {
		if v.program == nil {
			v.program = new(T)
			v.init(v.program)
		}
		return v.program
	}
	for len(p.vars) <= v.n {
		p.vars = append(p.vars, nil)
	}
	if p.vars[v.n] == nil {
		x := new(T)
		p.vars[v.n] = x
		switch value, ok := w.Config.Vars[v.name]; {
		case ok:
			*x = value.(T)
		case v.program != nil:
			*x = *v.program
		default:
			v.init(x)
		}
	}
	return p.vars[v.n].(*T)
}

func (v *Var[T]) init(x *T) {
	if v.set != nil {
		v.set(x)
	}
}
