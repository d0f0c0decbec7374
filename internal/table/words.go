package table

import "sync/atomic"

// A Header is the shared part of a table that belongs to no stripe.
type Header struct {
	Seed atomic.Uint64 // of the hash; 0: not chosen yet, and the table is empty
	_    [120]byte

	// Written by callers that need room.
	Hand    atomic.Uint64 // the cell at which the search for one to evict goes on
	Removed atomic.Uint64 // count of cells that have become free
	Timed   atomic.Uint64 // count of entries that were stored with an expiry
	Evicted atomic.Uint64 // entries that were removed to make room
	Expired atomic.Uint64 // expired entries that were removed to make room
	Repairs atomic.Uint64 // stripes whose holder died
	Armed   atomic.Uint32 // for waiters for any change
	_       [76]byte
}

// A Stripe is what a part of the buckets has in common. Lock, LockArmed and Armed belong to the
// caller.
type Stripe struct {
	Lock, LockArmed atomic.Uint32
	Armed           atomic.Uint32 // for waiters for a change of the stripe
	_               atomic.Uint32
	Version         atomic.Uint64 // count of changes
	Intent          atomic.Uint64 // what is being changed, see intent
	Spare           atomic.Uint64 // 1 + the spare cell; 0: the one that the stripe began with
	Count           atomic.Uint64 // entries
	_               [80]byte
}

// The words of a cell. Words of the key and then the value follow, each from a word on.
const (
	cellState   = iota // owned by a stripe or free, see owner
	cellGen            // count of the entries that were written
	cellHash           // of the key
	cellNext           // 1 + the next cell of the chain; 0: there is none
	cellExpires        // when the entry expires, in ns since 1970; 0: never
	cellUsed           // not 0: it was read or replaced since the hand last came by
	CellWords          // their number
)

const wordSize = 8 // bytes

// freed is the state of a cell that has been owned and is free. A cell that was never owned has
// state 0. Other states are 1 + the stripe that owns the cell.
const freed = 1 << 32

// An intent names a cell, and what becomes of it.
type intent uint64

const (
	inserting = 1 // it is taken from the free ones, to be the spare cell
	replacing = 2 // it is replaced by the spare cell, and then the spare one
	removing  = 3 // it is removed
)

func newIntent(kind uint64, cell int) intent { return intent(kind<<32 | uint64(cell)) }

func (i intent) kind() uint64 { return uint64(i >> 32) }
func (i intent) cell() uint32 { return uint32(i) }
