package table

import "github.com/shmembox/shmem/internal/access"

// mostTries bounds the tries of a reader. Each further one means that the stripe has changed.
const mostTries = 1 << 12

// An Entry says what a reader has found. It may be replaced meanwhile: see Valid.
type Entry struct {
	Cell    int
	Gen     uint64 // of the cell: another one means another entry
	Expires int64  // in ns since 1970; 0: never
}

// Find finds the entry of a key. The cell is -1 if there is none; the caller asks Expired too. It
// copies the value, and then asks Valid.
func (t *Table) Find(hash uint64, key []uint64) (Entry, error) {
	s := &t.stripes[t.StripeOf(hash)]
	for range mostTries {
		version := access.Load("version", &s.Version)
		_, cell, err := t.find(hash, key)
		e := Entry{Cell: cell}
		if cell >= 0 {
			e.Gen = access.Load("gen", t.word(cell, cellGen))
		}
		if access.Load("version again", &s.Version) != version {
			continue
		}
		if cell < 0 {
			return e, err
		}
		e.Expires = int64(access.Load("expires", t.word(cell, cellExpires)))
		return e, nil
	}
	return Entry{Cell: -1}, ErrBusy
}

// Valid reports whether what was copied from an entry since it was found is the entry's.
func (t *Table) Valid(e Entry) bool {
	return access.Load("gen again", t.word(e.Cell, cellGen)) == e.Gen
}

// Expired reports whether the entry is gone by now.
func (t *Table) Expired(e Entry) bool { return e.Expires != 0 && e.Expires <= t.room.Now() }

// Used reports whether it is recorded that an entry was read.
func (t *Table) Used(e Entry) bool { return access.Load("used", t.word(e.Cell, cellUsed)) != 0 }

// MarkUsed records that an entry was read. Others are evicted before it.
func (t *Table) MarkUsed(e Entry) {
	if !t.Used(e) {
		access.Release("used", t.word(e.Cell, cellUsed), 1)
	}
}

// Bucket appends the entries of a bucket to list, as they were at one moment. The caller copies
// keys and values, and asks Valid of each. If one is not, it calls Bucket again.
func (t *Table) Bucket(bucket int, list []Entry) ([]Entry, error) {
	s := &t.stripes[bucket&(t.Stripes-1)]
	kept := len(list)
	for range mostTries {
		version := access.Load("version", &s.Version)
		cells, err := t.chain(bucket)
		list = list[:kept]
		for _, c := range cells {
			list = append(list, Entry{
				Cell: c, Gen: access.Load("gen", t.word(c, cellGen)),
				Expires: int64(access.Load("expires", t.word(c, cellExpires))),
			})
		}
		if access.Load("version again", &s.Version) == version {
			return list, err
		}
	}
	return list[:kept], ErrBusy
}

// Key copies the key of an entry.
func (t *Table) Key(e Entry, key []uint64) {
	for i := range key {
		key[i] = access.Load("key", t.word(e.Cell, CellWords+i))
	}
}

// chain returns the cells of a bucket.
func (t *Table) chain(bucket int) (cells []int, err error) {
	link := &t.buckets[bucket]
	for range t.Cells() + 1 {
		cell, err := t.cellIn(access.Load("link", link))
		if cell < 0 {
			return cells, err
		}
		cells = append(cells, cell)
		link = t.word(cell, cellNext)
	}
	return nil, ErrCorrupt
}

// Len returns the number of entries, with expired ones that have not been removed. It is exact
// while no change is made.
func (t *Table) Len() int {
	n := uint64(0)
	for i := range t.stripes {
		n += t.stripes[i].Count.Load()
	}
	return int(min(n, uint64(t.Capacity)))
}

// Version returns the number of changes of a stripe.
func (t *Table) Version(stripe int) uint64 { return t.stripes[stripe].Version.Load() }

// Stuck reports whether a stripe is in the middle of a change. If its holder is dead, it needs
// Repair.
func (t *Table) Stuck(stripe int) bool { return t.stripes[stripe].Intent.Load() != 0 }
