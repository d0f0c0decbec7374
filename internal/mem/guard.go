package mem

import "runtime/debug"

// A Fault is an access to a mapping that failed: the file was truncated, or the mapping was
// retired.
type Fault struct {
	Addr uintptr
	Err  error
}

// FaultOf returns the fault in the mapping that a recovered value stands for, nil if there is none.
func (m *Mapping) FaultOf(recovered any) *Fault {
	e, ok := recovered.(interface {
		error
		Addr() uintptr
	})
	if !ok || !m.Contains(e.Addr()) {
		return nil
	}
	return &Fault{e.Addr(), e}
}

// Guard calls f. A fault at an address of the mapping ends f, and Guard returns it. Other panics
// pass.
func (m *Mapping) Guard(f func()) (fault *Fault) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			if fault = m.FaultOf(r); fault == nil {
				panic(r)
			}
		}
	}()
	f()
	return nil
}
