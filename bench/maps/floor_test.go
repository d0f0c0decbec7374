package maps_test

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// The floors are what a table and a cache in shared memory cost at least, by hand: a hash, an index
// and a copy, with a sequence or a position that tells a reader that it has read a mixture. They
// check nothing that they read, expire and evict nothing in order, and survive no death: a writer
// that dies leaves an entry that no process can read. They know the keys' and values' sizes.

// hashOf is the hash of both floors.
func hashOf(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	return hi ^ lo
}

// A floorEntry is an entry of a table with open addressing. The sequence is odd during a change, and
// 0 if there is no entry.
type floorEntry struct {
	seq   atomic.Uint64
	key   key
	value value
	_     [5]uint64
}

const floorEntries = 1 << 18

type (
	floorTable [floorEntries]floorEntry
	floor      struct{ t *floorTable }
)

func openFloor(tb testing.TB, dir string) (floor, func()) {
	b, err := shmem.Open[floorTable]("floor", &shmem.Options{Dir: dir, Undo: shmem.UndoNever})
	if err != nil {
		tb.Fatal(err)
	}
	return floor{b.Value()}, func() { _ = b.Close() }
}

func (f floor) get(k key) (v value) {
	for i := hashOf(k[0], k[1]); ; i++ {
		e := &f.t[i%floorEntries]
		for {
			seq := e.seq.Load()
			if seq == 0 {
				return v
			}
			same := e.key == k
			if same {
				v = e.value
			}
			if seq&1 == 0 && e.seq.Load() == seq {
				if same {
					return v
				}
				break
			}
		}
	}
}

func (f floor) set(k key, v value) {
	for i := hashOf(k[0], k[1]); ; i++ {
		e := &f.t[i%floorEntries]
		seq := e.seq.Load()
		if seq != 0 && e.key != k && seq&1 == 0 {
			continue
		}
		if seq&1 == 1 || !e.seq.CompareAndSwap(seq, seq+1) {
			i--
			continue
		}
		if seq == 0 || e.key == k {
			e.key, e.value = k, v
			e.seq.Store(seq + 2)
			return
		}
		e.seq.Store(seq)
	}
}

// floorChains is a table with chains, as a kv.Map is one: a reader waits for the bucket and then for
// the entry. Only one goroutine stores a new key.
type (
	chainTable struct {
		used    uint64
		buckets [floorEntries]atomic.Uint64 // 1 + the first entry
		next    [floorEntries]atomic.Uint64 // 1 + the entry behind it
		entries [floorEntries / 2]floorEntry
	}
	floorChains struct{ t *chainTable }
)

func openFloorChains(tb testing.TB, dir string) (floorChains, func()) {
	b, err := shmem.Open[chainTable]("floor", &shmem.Options{Dir: dir, Undo: shmem.UndoNever})
	if err != nil {
		tb.Fatal(err)
	}
	return floorChains{b.Value()}, func() { _ = b.Close() }
}

// find returns the entry of a key, nil if there is none, and the bucket.
func (f floorChains) find(k key) (e *floorEntry, bucket *atomic.Uint64) {
	bucket = &f.t.buckets[hashOf(k[0], k[1])%floorEntries]
	for i := bucket.Load(); i != 0; i = f.t.next[i-1].Load() {
		if e := &f.t.entries[i-1]; e.key == k {
			return e, bucket
		}
	}
	return nil, bucket
}

func (f floorChains) get(k key) (v value) {
	e, _ := f.find(k)
	for e != nil {
		seq := e.seq.Load()
		v = e.value
		if seq&1 == 0 && e.seq.Load() == seq {
			break
		}
	}
	return v
}

func (f floorChains) set(k key, v value) {
	e, bucket := f.find(k)
	if e == nil {
		i := f.t.used
		f.t.used++
		e = &f.t.entries[i]
		e.key = k
		f.t.next[i].Store(bucket.Load())
		bucket.Store(i + 1)
	}
	for {
		if seq := e.seq.Load(); seq&1 == 0 && e.seq.CompareAndSwap(seq, seq+1) {
			e.value = v
			e.seq.Store(seq + 2)
			return
		}
	}
}

// A floorLog is a cache: a log of entries of one size, and an index of the positions.
type floorLog struct {
	tail  atomic.Uint64
	_     [120]byte
	index [floorEntries]atomic.Uint64
	log   [floorEntries]struct {
		key   [16]byte
		value [64]byte
	}
}

type floorCache struct{ l *floorLog }

func openFloorCache(tb testing.TB, dir string) (floorCache, func()) {
	b, err := shmem.Open[floorLog]("floor", &shmem.Options{Dir: dir, Undo: shmem.UndoNever})
	if err != nil {
		tb.Fatal(err)
	}
	return floorCache{b.Value()}, func() { _ = b.Close() }
}

func hashOfBytes(k []byte) uint64 {
	return hashOf(binary.NativeEndian.Uint64(k), binary.NativeEndian.Uint64(k[8:]))
}

func (f floorCache) get(dst, k []byte) []byte {
	at := &f.l.index[hashOfBytes(k)%floorEntries]
	for {
		pos := at.Load()
		e := &f.l.log[pos%floorEntries]
		if pos == 0 || string(e.key[:]) != string(k) {
			return dst
		}
		all := append(dst, e.value[:]...)
		if at.Load() == pos && f.l.tail.Load() < pos+floorEntries {
			return all
		}
	}
}

func (f floorCache) set(k, v []byte) {
	pos := f.l.tail.Add(1)
	e := &f.l.log[pos%floorEntries]
	copy(e.key[:], k)
	copy(e.value[:], v)
	f.l.index[hashOfBytes(k)%floorEntries].Store(pos)
}

// floorPeer and floorCachePeer make calls until their parent ends them.
func floorPeer(c *shmemtest.Conn) error {
	b, err := shmem.Attach[floorTable]("floor", &shmem.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	f := floor{b.Value()}
	return workUntilEnded(c, f, b.Close)
}

func floorCachePeer(c *shmemtest.Conn) error {
	b, err := shmem.Attach[floorLog]("floor", &shmem.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	f := floorCache{b.Value()}
	return callUntilEnded(c, func(n int, pick func() int) { workCache(f, n, pick) }, b.Close)
}
