package metrics

import (
	"strings"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
)

// A hold is what is the same of a lock or message as long as one process has it.
type hold struct {
	segment          string // its ID
	lock             string // a path; "box" and "read" for the box's own lock
	slot, generation int
	number           uint64 // of a message; of the box's own lock the version of the value
}

// held says since when a hold was seen at every scan.
type held struct{ since time.Time }

// segment adds the samples of a segment.
func (c *scan) segment(o *inspect.Observer, st *inspect.Status) {
	name := label(st.Name)
	c.put(info, 1, name, kindOf(o, st), cut(label(typeOf(o, st)), maxType), st.State.String(),
		lifetimeOf(st), label(st.Program))
	c.put(inUse, float64(st.InUse), name)
	if st.Err != nil {
		return
	}
	alive := 0
	for _, s := range st.Slots {
		if s.Alive {
			alive++
		}
	}
	c.put(size, float64(st.Size), name)
	c.put(created, float64(st.Created.UnixNano())/1e9, name)
	c.put(attachments, float64(alive), name)
	c.put(deadAttachments, float64(len(st.Slots)-alive), name)
	c.put(slots, float64(st.Info.Slots), name)
	c.put(orphaned, truth(st.State == shmem.Orphaned), name)
	c.death(st)
	c.waiters(name, st)
	c.locks(name, st)
	switch s := st.Stats; {
	case s != nil:
		c.stream(name, st)
	default:
		c.put(changes, float64(st.Version), name)
	}
	if m, err := o.MapStats(); err == nil && m != nil {
		c.table(name, m)
	}
	if m, err := o.CacheStats(); err == nil && m != nil {
		c.cache(name, m)
	}
	if s, err := o.CallStats(); err == nil && s != nil {
		c.service(name, s)
	}
	if p, err := o.PoolStats(); err == nil && p != nil {
		c.pool(name, p)
	}
}

// kindOf returns what a segment is made of.
func kindOf(o *inspect.Observer, st *inspect.Status) string {
	t := o.Type()
	switch {
	case st.Stats != nil:
		return st.Stats.Kind
	case t == nil:
		return "bytes"
	}
	if key, _ := t.MapTypes(); key != nil {
		return "kv.Map"
	}
	if t.Name() == "kv.Cache" || t.Name() == "blob.Pool" || t.Name() == "rpc.Service" {
		return t.Name()
	}
	return "box"
}

// maxType bounds the label of a type, in bytes: a struct without a name has all its fields there.
const maxType = 120

// typeOf returns the type of the value; of a queue or topic, that of its messages.
func typeOf(o *inspect.Observer, st *inspect.Status) string {
	if t := o.Type(); t != nil {
		if item := t.Item(); item != nil {
			return item.String()
		}
	}
	return st.Type
}

func lifetimeOf(st *inspect.Status) string {
	if st.Lifetime == 0 {
		return ""
	}
	return st.Lifetime.String()
}

// death counts a segment whose owner, or last user, was found dead for the first time.
func (c *scan) death(st *inspect.Status) {
	if st.State != shmem.Orphaned && st.State != shmem.Garbage {
		return
	}
	if !c.s.dead[st.ID] {
		c.s.deaths++
	}
	c.dead[st.ID] = true
}

// waiters counts the attachments that wait. One that waits for several things counts for each.
func (c *scan) waiters(name string, st *inspect.Status) {
	order := []string{"lock", "readers", "change", "field"}
	if st.Stats != nil {
		order = []string{"room", "message"}
	}
	count := map[string]int{}
	for _, s := range st.Slots {
		seen := map[string]bool{}
		for _, w := range s.Waits {
			switch {
			case w == "a message":
				w = "message"
			case w != "room" && w != "lock" && w != "readers" && w != "change":
				w = "field"
			}
			seen[w] = true
		}
		for w := range seen {
			count[w]++
		}
	}
	for _, w := range order {
		c.put(waiters, float64(count[w]), name, w)
	}
}

// locks counts the holders of the box's own lock and of those in the value.
func (c *scan) locks(name string, st *inspect.Status) {
	var alive, gone, dead int
	var longest time.Duration
	count := func(h inspect.Holder, lock string, number uint64) {
		if !h.Alive {
			gone++
			return
		}
		alive++
		longest = max(longest, c.since(st, h, lock, number))
	}
	each := func(l inspect.LockState, lock string, number uint64) {
		if l.Dead && l.Type != "psync.Once" { // the next Do runs again
			dead++
		}
		for _, h := range l.Holders {
			if h.What != "promise" { // a promise waits for nothing
				count(h, lock, number)
			}
		}
	}
	if st.Stats == nil {
		each(st.Lock, "box", st.Version)
	}
	for _, h := range st.Readers {
		count(h, "read", 0)
	}
	for _, l := range st.Locks {
		each(l.LockState, "."+l.Path, 0)
	}
	c.put(lockHolders, float64(alive), name, "alive")
	c.put(lockHolders, float64(gone), name, "dead")
	c.put(locksDead, float64(dead), name)
	c.put(lockHeld, longest.Seconds(), name)
}

// since returns how long a process was seen with a hold at every scan. Of a segment with very many
// holds only the first ones are remembered.
func (c *scan) since(st *inspect.Status, h inspect.Holder, lock string, number uint64,
) time.Duration {
	k := hold{st.ID, lock, h.Slot, h.Generation, number}
	was, ok := c.s.holds[k]
	if !ok {
		was = held{c.start}
	}
	if c.kept(st.ID) {
		c.holds[k] = was
	}
	return c.start.Sub(was.since)
}

// kept reports whether another hold of a segment is remembered.
func (c *scan) kept(id string) bool {
	if c.keptID != id {
		c.keptID, c.keptCount = id, 0
	}
	c.keptCount++
	return c.keptCount <= maxHolds
}

// stream adds the samples of a queue or topic.
func (c *scan) stream(name string, st *inspect.Status) {
	s := st.Stats
	c.leases(name, st)
	c.put(ended, truth(s.Ended), name)
	if strings.HasPrefix(s.Kind, "topic.") {
		c.put(topicPublished, float64(s.Published), name)
		c.put(topicCapacity, float64(s.Capacity), name)
		c.put(topicLag, float64(s.Lag), name)
		c.put(topicHolds, float64(s.Holds), name)
		c.put(topicMaxHolds, float64(s.MaxHolds), name)
		c.put(topicLost, float64(s.Lost), name)
		c.put(topicSkipped, float64(s.Skipped), name)
		c.put(topicReleased, float64(s.Released), name)
		return
	}
	if s.Kind == "queue.Bytes" {
		c.put(queueDepthBytes, float64(s.Bytes), name)
		c.put(queueCapacityBytes, float64(s.BytesCap), name)
	}
	if s.Kind == "queue.Bytes" && s.Single { // it counts bytes, see inspect.Stats
		c.put(queueSentBytes, float64(s.Sent), name)
		c.put(queueReceivedBytes, float64(s.Received), name)
	} else {
		c.put(queueDepth, float64(s.Depth), name)
		c.put(queueCapacity, float64(s.Capacity), name)
		c.put(queueSent, float64(s.Sent), name)
		c.put(queueReceived, float64(s.Received), name)
	}
	if !s.OldestSent.IsZero() {
		c.put(queueOldestAge, max(0, c.start.Sub(s.OldestSent)).Seconds(), name)
	}
	c.put(queueSkipped, float64(s.Skipped), name)
	c.put(queueRedelivered, float64(s.Redelivered), name)
}

// leases adds the samples of messages that are being sent or received in place.
func (c *scan) leases(name string, st *inspect.Status) {
	count, messages, blocking := map[string]int{}, map[string]int{}, 0
	var oldest time.Duration
	for _, l := range st.Stats.Leases {
		count[l.What]++
		messages[l.What] += l.Count
		if l.Blocks {
			blocking++
		}
		age := c.since(st, l.Holder, l.What, l.Oldest)
		if !l.Since.IsZero() {
			age = max(age, c.start.Sub(l.Since))
		}
		oldest = max(oldest, age)
	}
	for _, what := range []string{"send", "receive"} {
		c.put(leases, float64(count[what]), name, what)
		c.put(leasedMessages, float64(messages[what]), name, what)
	}
	c.put(leaseAge, oldest.Seconds(), name)
	c.put(leasesBlocking, float64(blocking), name)
}

// table adds the samples of a map.
func (c *scan) table(name string, m *inspect.MapStats) {
	c.put(mapEntries, float64(m.Len), name)
	c.put(mapCapacity, float64(m.Capacity), name)
	c.put(mapChanges, float64(m.Changes), name)
	c.put(mapEvicted, float64(m.Evicted), name)
	c.put(mapExpired, float64(m.Expired), name)
	c.put(mapRepaired, float64(m.Repaired), name)
}

// cache adds the samples of a cache.
func (c *scan) cache(name string, m *inspect.CacheStats) {
	c.put(cacheEntries, float64(m.Entries), name)
	c.put(cacheBytes, float64(m.Bytes), name)
	c.put(cacheSize, float64(m.Size), name)
	c.put(cacheReads, float64(m.Hits), name, "hit")
	c.put(cacheReads, float64(m.Misses), name, "miss")
	c.put(cacheChanges, float64(m.Changes), name)
	c.put(cacheEvicted, float64(m.Evicted), name)
	c.put(cacheExpired, float64(m.Expired), name)
	c.put(cacheRepaired, float64(m.Repaired), name)
}

// service adds the samples of a service.
func (c *scan) service(name string, s *inspect.CallStats) {
	c.put(serviceServers, float64(s.Servers), name)
	c.put(serviceClients, float64(s.Clients), name)
	c.put(serviceCapacity, float64(s.Capacity), name)
	c.put(serviceWaiting, float64(s.Waiting), name)
	c.put(serviceRunning, float64(s.Running), name)
	c.put(serviceOldest, s.Oldest.Seconds(), name)
	c.put(serviceHandled, float64(s.Handled), name)
	c.put(serviceFailed, float64(s.Failed), name)
	c.put(serviceFreed, float64(s.Freed), name)
	c.put(serviceRequeued, float64(s.Requeued), name)
}

// pool adds the samples of a pool of buffers.
func (c *scan) pool(name string, p *inspect.PoolStats) {
	var all, used, taken, fullest float64
	for _, class := range p.Classes {
		all += float64(class.Size) * float64(class.Count)
		used += float64(class.Size) * float64(class.Used)
		taken += float64(class.Taken)
		fullest = max(fullest, float64(class.Used)/float64(class.Count))
	}
	c.put(poolSize, all, name)
	c.put(poolUsed, used, name)
	c.put(poolFullest, fullest, name)
	c.put(poolTaken, taken, name)
	c.put(poolInFlight, float64(p.InFlight), name)
	c.put(poolDead, float64(p.Dead), name)
	c.put(poolExpired, float64(p.Expired), name)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
