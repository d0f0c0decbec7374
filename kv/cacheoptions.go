package kv

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/cache"
	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/stream"
)

// CacheOptions say how a [Cache] is created or attached to. A nil *CacheOptions, and the zero value
// of each field, is the default.
type CacheOptions struct {
	// Dir is the directory of the segment, on a tmpfs. Default: /dev/shm.
	Dir string
	// Disk accepts a Dir that is on a disk, to which the kernel writes every change of the memory.
	// Without it such a Dir is shmem.ErrBadOption.
	Disk bool
	// Timeout is how long opening and closing wait for another process that is in the middle of
	// creating, attaching or closing, before shmem.ErrBusy. Default: 5 s. It cannot be negative.
	Timeout time.Duration
	// Mode is the file's permission bits, whatever the umask is. Default: 0600, or 0660 with Group.
	// Where the cache exists, a Mode that is set must be the one it has.
	Mode fs.FileMode
	// Group shares the segment with a group, by name or number; see shmem.Options. Default: none.
	Group string
	// Slots is how many attachments there can be at a time, 1 to 1024. Default: 256. Where the
	// cache exists, Slots that are set must be those it was created with.
	Slots int
	// Lifetime says when the segment ends. Default: shmem.Shared when it is created; where the
	// segment exists, a Lifetime that is set must be the one it was created with.
	Lifetime shmem.Lifetime
	// Passive attaches without a part in the segment's life; see shmem.Options. Default: no.
	Passive bool
	// ReadOnly attaches without the right to write. What it reads is not counted, and not kept
	// longer than other entries.
	ReadOnly bool
	// AnyUser accepts a segment that another user created. Its owner can do with it what it likes.
	AnyUser bool
	// Populate is how large the segment may be, in bytes, for its pages to be made present when it
	// is mapped. Default: 64 MiB. Negative: none.
	Populate int
	// HugePages makes the pages huge where the kernel can; see shmem.Options.
	HugePages bool

	// Size is the memory of the cache in bytes, 64 KiB to 2^38: entries, index and counters. All of
	// it is reserved when the cache is created, and it never becomes more. The segment has some KiB
	// beside it for its attachments. Default: 32 MiB. Where the cache exists, a Size that is set
	// must be the one it was created with.
	Size int
	// Mean is how many bytes a key and its value have together, on average. It says how much of
	// Size is index: with larger entries than that a part of the index is unused, with smaller ones
	// entries are evicted before the memory is full. Default: 128. Create only.
	Mean int
}

const (
	minCacheSize     = 64 << 10
	maxCacheBits     = 38
	defaultCacheSize = 32 << 20
	defaultMean      = 128
)

// ErrTooBig is returned for a key and value that are larger than Cache.MaxLen.
var ErrTooBig = errors.New("the key and the value are too large")

var errTooBig = &errs.Worded{
	Text: "the key and the value are too large; Cache.MaxLen is the most, create the cache with " +
		"a larger CacheOptions.Size",
	Sentinel: ErrTooBig,
}

// layout is the layout of a new cache.
func (o *CacheOptions) layout() (*layout.Cache, error) {
	size, mean := o.Size, o.Mean
	if size == 0 {
		size = defaultCacheSize
	}
	if mean == 0 {
		mean = defaultMean
	}
	switch {
	case size < minCacheSize || int64(size) > 1<<maxCacheBits:
		return nil, fmt.Errorf("%w: CacheOptions.Size %d: must be 64 KiB to 2^%d",
			shmem.ErrBadOption, o.Size, maxCacheBits)
	case mean < 1 || mean > size:
		return nil, fmt.Errorf("%w: CacheOptions.Mean %d: must be 1 to Size", shmem.ErrBadOption,
			o.Mean)
	}
	s, err := cache.ShapeOf(size, mean)
	if err != nil {
		return nil, layout.ErrSize
	}
	return layout.NewCache(s.Shards, s.Buckets, s.Words)
}

// segment are the options of the segment.
func (o *CacheOptions) segment() *shmem.Options {
	return &shmem.Options{
		Dir: o.Dir, Disk: o.Disk, Timeout: o.Timeout, Mode: o.Mode, Group: o.Group, Slots: o.Slots,
		Lifetime: o.Lifetime,
		Passive:  o.Passive,
		ReadOnly: o.ReadOnly, AnyUser: o.AnyUser, Populate: o.Populate, HugePages: o.HugePages,
		Undo: shmem.UndoNever,
	}
}

// check compares the options with the cache that is there. The Mean of that is not known: the size
// is that of a new cache with this Size, give or take what rounding costs.
func (o *CacheOptions) check(l *layout.Cache) error {
	if o.Size == 0 {
		return nil
	}
	most := l.Type.Size + l.Shards*64 + 512
	if o.Size < l.Type.Size || o.Size > most {
		return stream.Claim("CacheOptions", "Size", l.Type.Size, o.Size)
	}
	return nil
}
