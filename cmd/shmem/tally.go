package main

import (
	"fmt"
	"time"

	"github.com/shmembox/shmem/inspect"
)

// A tally has the counters of a map, a cache, a service or a pool. One of them is not nil; all are
// for a segment of another kind.
type tally struct {
	entries *inspect.MapStats
	cached  *inspect.CacheStats
	calls   *inspect.CallStats
	buffers *inspect.PoolStats
}

// tallyOf reads the counters of a segment.
func tallyOf(o *inspect.Observer) (t tally, err error) {
	switch kindOfSegment(o) {
	case kindMap:
		t.entries, err = o.MapStats()
	case kindCache:
		t.cached, err = o.CacheStats()
	case kindService:
		t.calls, err = o.CallStats()
	case kindBlob:
		t.buffers, err = o.PoolStats()
	}
	return t, err
}

// total is what grows with traffic: changes of a map, reads and changes of a cache, calls that were
// handled, and buffers that were taken. It is 0 for another segment.
func (t tally) total() (n uint64) {
	switch {
	case t.entries != nil:
		return t.entries.Changes
	case t.cached != nil:
		return t.cached.Hits + t.cached.Misses + t.cached.Changes
	case t.calls != nil:
		return t.calls.Handled
	case t.buffers != nil:
		for _, c := range t.buffers.Classes {
			n += c.Taken
		}
	}
	return n
}

// room is how much there is of the room: entries of a map, bytes of a cache, calls of a service,
// buffers of a pool. It is 0 of 0 for another segment.
func (t tally) room() (used, of uint64) {
	switch {
	case t.entries != nil:
		return uint64(t.entries.Len), uint64(t.entries.Capacity)
	case t.cached != nil:
		return uint64(t.cached.Bytes), uint64(t.cached.Size)
	case t.calls != nil:
		return uint64(t.calls.Waiting + t.calls.Running), uint64(t.calls.Capacity)
	case t.buffers != nil:
		for _, c := range t.buffers.Classes {
			used, of = used+uint64(c.Used), of+uint64(c.Count)
		}
	}
	return used, of
}

// roomText is the room on one line, "-" if there is none.
func (t tally) roomText() string {
	used, of := t.room()
	switch {
	case of == 0:
		return "-"
	case t.cached != nil:
		return size(int64(used)) + "/" + size(int64(of))
	}
	return count(used) + "/" + count(of)
}

// lost counts entries that were evicted, calls whose client or server died, and buffers that were
// removed from dead processes, or because they were late.
func (t tally) lost() uint64 {
	switch {
	case t.entries != nil:
		return t.entries.Evicted
	case t.cached != nil:
		return t.cached.Evicted
	case t.calls != nil:
		return t.calls.Freed + t.calls.Requeued
	case t.buffers != nil:
		return t.buffers.Dead + t.buffers.Expired
	}
	return 0
}

// doing says what a service or a cache does now, "" of others.
func (t tally) doing() string {
	switch {
	case t.calls != nil && t.calls.Waiting+t.calls.Running > 0:
		return fmt.Sprintf("%s, %d busy, %s", briefly(t.calls.Oldest), t.calls.Running,
			plural(uint64(t.calls.Clients), "client"))
	case t.cached != nil && t.cached.Hits+t.cached.Misses > 0:
		reads := float64(t.cached.Hits + t.cached.Misses)
		return fmt.Sprintf("%.0f%% hits", 100*float64(t.cached.Hits)/reads)
	}
	return ""
}

// briefly is a duration of two or three digits.
func briefly(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// line is the counters in words. It is empty for another segment.
func (t tally) line() statLine {
	switch {
	case t.entries != nil:
		return statLine{label: "entries", text: mapText(t.entries)}
	case t.cached != nil:
		return statLine{label: "entries", text: cacheText(t.cached)}
	case t.calls != nil:
		return statLine{label: "calls", text: callText(t.calls)}
	case t.buffers != nil:
		return statLine{label: "buffers", text: poolText(t.buffers)}
	}
	return statLine{}
}

// parts are the counters, each with its label.
func (t tally) parts() [][2]string {
	switch {
	case t.entries != nil:
		return mapParts(t.entries)
	case t.cached != nil:
		return cacheParts(t.cached)
	case t.calls != nil:
		return callParts(t.calls)
	case t.buffers != nil:
		return poolParts(t.buffers)
	}
	return nil
}

// sameTally reports whether a row shows the same for both. It does not while there are calls, since
// it shows the age of the oldest one.
func sameTally(a, b tally) bool {
	au, ao := a.room()
	bu, bo := b.room()
	return a.total() == b.total() && au == bu && ao == bo && a.lost() == b.lost() &&
		(a.calls == nil || au == 0)
}

// A jsonTally has the counters of a map, a cache, a service or a pool.
type jsonTally struct {
	Map   *jsonMapStats   `json:"map,omitempty"`   // of a kv.Map
	Cache *jsonCacheStats `json:"cache,omitempty"` // of a kv.Cache
	Calls *jsonCallStats  `json:"calls,omitempty"` // of a service of package rpc
	Pool  *jsonPoolStats  `json:"pool,omitempty"`  // of a blob.Pool
}

// json is the counters of a segment of type typ.
func (t tally) json(typ *inspect.Type) (j jsonTally) {
	switch {
	case t.entries != nil:
		j.Map = jsonMapStatsOf(typ, t.entries)
	case t.cached != nil:
		j.Cache = jsonCacheStatsOf(t.cached)
	case t.calls != nil:
		j.Calls = jsonCallStatsOf(typ, t.calls)
	case t.buffers != nil:
		j.Pool = jsonPoolStatsOf(t.buffers)
	}
	return j
}
