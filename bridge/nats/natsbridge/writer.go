package natsbridge

import "sync"

// writers are the numbers under which this process has sent a route.
type writers struct {
	mu  sync.Mutex
	all map[uint64]bool // guarded by mu
}

// begin notes that this process sends the route under a number.
func (r *route) begin(me uint64) {
	w := &r.writers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[uint64]bool{}
	}
	w.all[me] = true
}

// wrote reports whether a writer is this process.
func (r *route) wrote(writer uint64) bool {
	w := &r.writers
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all[writer]
}

// began reports whether this process has sent the route before, and another one is its last writer:
// that one began later, so the route is its.
func (r *route) began(writer uint64) bool {
	w := &r.writers
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all) > 0 && !w.all[writer]
}
