package cache

import "sync/atomic"

// A Header is the shared part of a cache that belongs to no shard.
type Header struct {
	Seed atomic.Uint64 // of the hash; 0: not chosen yet, and the cache is empty
	_    [120]byte
}

// A Shard is what a part of the keys has in common. Lock and LockArmed belong to the caller. Those
// who read change Hits and Misses; the holder of the lock changes the others.
type Shard struct {
	Lock, LockArmed atomic.Uint32
	Tail            atomic.Uint64 // the position at which the next entry is appended
	Low             atomic.Uint64 // the position of the oldest entry; others may be overwritten
	Count           atomic.Uint64 // entries
	Bytes           atomic.Uint64 // of their keys and values
	Changes         atomic.Uint64 // count of changes
	Evicted         atomic.Uint64 // entries that were removed to make room
	Expired         atomic.Uint64 // expired entries that were removed to make room
	Repairs         atomic.Uint64 // times that a holder died, or that the shard was damaged
	_               [56]byte

	Hits, Misses atomic.Uint64
	_            [112]byte
}

// The words with which an entry begins. The words of the key and then of the value follow.
const (
	entrySizes   = iota // length of the key << 32 | length of the value, in bytes
	entryExpires        // when the entry expires, in ns since 1970; 0: never
	entryHash           // of the key
	EntryWords          // their number
)

// skipped in the place of entrySizes says that the rest of the lap has no entry.
const skipped = ^uint64(0)

// Ways is how many words a bucket of the index has.
const Ways = 8

// A link is a word of the index: it leads to an entry. 0 leads to none.
//
//	bits 0 to 51: position; bit 52: the entry was read; bits 53 to 63: a part of the hash
type link uint64

const (
	posBits = 52
	posMask = 1<<posBits - 1
	used    = link(1) << posBits
	tagAt   = posBits + 1
)

func newLink(hash, pos uint64) link { return link(hash>>8<<tagAt | pos) }

func (l link) pos() uint64 { return uint64(l) & posMask }

// leads reports whether a link can be that of a key with the hash.
func (l link) leads(hash uint64) bool { return l != 0 && uint64(l)>>tagAt == hash>>8&(1<<11-1) }
