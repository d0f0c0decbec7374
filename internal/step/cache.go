package step

// Caches, in the order in which the points of a change are reached.
const (
	CacheEvicted  Point = "cache.evicted"  // the oldest entry has no link; its room is not free yet
	CacheMoved    Point = "cache.moved"    // the oldest entry is appended again, not yet linked
	CachePassed   Point = "cache.passed"   // the room of the oldest entry is free
	CacheFilled   Point = "cache.filled"   // the new entry is written behind the tail
	CacheAppended Point = "cache.appended" // the tail is behind it; no link leads to it
	CacheLinked   Point = "cache.linked"   // the change counts; it is not in the counters
	CacheCounted  Point = "cache.counted"  // it is in the counters; the shard is still locked
	CacheRemoved  Point = "cache.removed"  // an entry is removed; it is still in the counters
	CacheRepaired Point = "cache.repaired" // what a dead process has left is counted again
)

// Cache lists the points above.
var Cache = []Point{
	CacheEvicted, CacheMoved, CachePassed, CacheFilled, CacheAppended, CacheLinked, CacheCounted,
	CacheRemoved, CacheRepaired,
}
