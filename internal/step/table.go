package step

// Maps, in the order in which the points of a change are reached.
const (
	MapIntent  Point = "map.intent"  // the stripe names the cell that it takes or removes
	MapTaken   Point = "map.taken"   // a free cell is the stripe's; its entry is not written
	MapFilled  Point = "map.filled"  // the new entry is written; no call can find it
	MapLinked  Point = "map.linked"  // the change counts; the version is the old one
	MapVersion Point = "map.version" // the version has changed; no waiter is woken yet
	MapSpare   Point = "map.spare"   // the cell that was replaced is the stripe's spare one
	MapFreed   Point = "map.freed"   // the removed cell is free; it is not in the index yet
	MapDone    Point = "map.done"    // the stripe names no cell any more; it is still locked
	MapEvict   Point = "map.evict"   // another stripe is locked to remove an entry from it
	MapRepair  Point = "map.repair"  // the change of a dead process is undone or finished
)

// Map lists the points above.
var Map = []Point{
	MapIntent, MapTaken, MapFilled, MapLinked, MapVersion, MapSpare, MapFreed, MapDone, MapEvict,
	MapRepair,
}
