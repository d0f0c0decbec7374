//go:build linux && (amd64 || arm64)

// Package sync stands in for sync.
package sync

import "github.com/shmembox/shmem/tests/replay/world"

// A Locker is sync.Locker.
type Locker interface {
	Lock()
	Unlock()
}

// A Mutex is sync.Mutex.
type Mutex struct{ world.Mutex }

// A WaitGroup is sync.WaitGroup.
type WaitGroup struct{ world.WaitGroup }

// A Once is sync.Once.
type Once struct {
	mu   Mutex
	done bool
}

// Do calls f once.
func (o *Once) Do(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.done {
		defer func() { o.done = true }()
		f()
	}
}

// OnceValue is sync.OnceValue.
func OnceValue[T any](f func() T) func() T {
	var once Once
	var v T
	return func() T {
		once.Do(func() { v = f() })
		return v
	}
}

// A Pool is sync.Pool. It never drops what it holds.
type Pool struct {
	New  func() any
	free []any
}

// Get takes an element.
func (p *Pool) Get() any {
	world.Local()
	if n := len(p.free); n > 0 {
		x := p.free[n-1]
		p.free = p.free[:n-1]
		return x
	}
	if p.New == nil {
		return nil
	}
	return p.New()
}

// Put gives an element back.
func (p *Pool) Put(x any) {
	world.Local()
	p.free = append(p.free, x)
}

// A Map is sync.Map.
type Map struct{ m map[any]any }

// Load is that of sync.Map.
func (m *Map) Load(k any) (any, bool) {
	world.Local()
	v, ok := m.m[k]
	return v, ok
}

// Store is that of sync.Map.
func (m *Map) Store(k, v any) {
	world.Local()
	if m.m == nil {
		m.m = map[any]any{}
	}
	m.m[k] = v
}

// LoadOrStore is that of sync.Map.
func (m *Map) LoadOrStore(k, v any) (any, bool) {
	if old, ok := m.Load(k); ok {
		return old, true
	}
	m.Store(k, v)
	return v, false
}

// Delete is that of sync.Map.
func (m *Map) Delete(k any) {
	world.Local()
	delete(m.m, k)
}
