package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/sys"
)

// A control is an open file and its control block. Its methods use pread and pwrite, not the
// mapping: a truncated file is an error there, not a fault, and no page is touched for the first
// time.
type control struct {
	file sys.FD
	stat sys.Stat       // of the file, when it was opened
	head *format.Header // nil: a foreign file

	scanned ringScan // what was found in a long ring without the gate
}

// readHeader reads and checks the header page of an open file. The page is returned also after an
// error.
func readHeader(file sys.FD, st sys.Stat) (*format.Header, []byte, error) {
	page := make([]byte, format.HeaderSize)
	h, err := readHeaderTo(page, file, st)
	return h, page, err
}

func readHeaderTo(page []byte, file sys.FD, st sys.Stat) (*format.Header, error) {
	if st.Size < format.HeaderSize {
		return nil, foreignError(st.Size)
	}
	n, err := file.ReadAt(page, st.Size-format.HeaderSize)
	if err != nil {
		return nil, err
	}
	if n < len(page) {
		return nil, fmt.Errorf("%w: the file was truncated while it was read", errs.Corrupt)
	}
	h, err := format.DecodeHeader(page, st.Size)
	if err != nil {
		return nil, formatError(err, st.Size)
	}
	return h, genuine(h, file, st)
}

// genuine returns an error if the header was not written for this file, or if the file has less
// memory than was reserved for it.
func genuine(h *format.Header, file sys.FD, st sys.Stat) error {
	if err := copied(h, file, st); err != nil {
		return err
	}
	return sparse(file, st)
}

// sparse returns errs.Corrupt if not all of a file in memory has memory: creation reserves all of
// it. To attach to such a file would take memory, and could find none.
func sparse(file sys.FD, st sys.Stat) error {
	has := st.Blocks * 512
	if has >= st.Size || !file.InMemory() {
		return nil
	}
	return fmt.Errorf("%w: only %s of its %s have memory; Remove removes it", errs.Corrupt,
		size(has), size(st.Size))
}

// tailSlots is how many slots are read together with the header.
const tailSlots = 16

// A tail is the end of a segment's file: the first slots, in reverse order, and the header page.
type tail [tailSlots*format.SlotSize + format.HeaderSize]byte

// tails holds tails that are not kept. Allocating one costs more than reading it.
var tails = sync.Pool{New: func() any { return new(tail) }}

func (t *tail) header() []byte { return t[tailSlots*format.SlotSize:] }

// slot returns the record of slot i, which is below tailSlots and below the header's SlotCount.
func (t *tail) slot(i uint32) []byte {
	return t.from(i)[:format.SlotSize]
}

// from returns the record of slot i and what stands behind it, to the end of the file.
func (t *tail) from(i uint32) []byte { return t[(tailSlots-1-int(i))*format.SlotSize:] }

// read reads the tail of an open file. It checks nothing.
func (t *tail) read(file sys.FD, st sys.Stat) error {
	if st.Size < format.HeaderSize {
		return foreignError(st.Size)
	}
	skip := max(0, len(t)-int(min(st.Size, int64(len(t)))))
	clear(t[:skip])
	n, err := file.ReadAt(t[skip:], st.Size-int64(len(t)-skip))
	if err == nil && n < len(t)-skip {
		err = fmt.Errorf("%w: the file was truncated while it was read", errs.Corrupt)
	}
	return err
}

// readTail reads the tail of the file, and checks and decodes its header.
func (c *control) readTail(t *tail) (*format.Header, error) {
	if err := t.read(c.file, c.stat); err != nil {
		return nil, err
	}
	h, err := format.DecodeHeader(t.header(), c.stat.Size)
	if err != nil {
		return nil, formatError(err, c.stat.Size)
	}
	return h, genuine(h, c.file, c.stat)
}

// copied returns errs.Copied if the header was written for another file. The words of a copy belong
// to the attachments of the original. The device of a disk may change with a boot; that of a tmpfs
// does not. Wine has none for a file that is renamed between its opening and the first look.
func copied(h *format.Header, file sys.FD, st sys.Stat) error {
	if h.Ino == st.Ino && (h.Dev == st.Dev || st.Dev == 0 || !file.InMemory()) {
		return nil
	}
	return fmt.Errorf("%w (inode %d, this is %d); its words belong to other processes; "+
		"shmem.Attach reads it with Options.Foreign and ReadOnly, Remove removes it", errs.Copied,
		h.Ino, st.Ino)
}

func foreignError(size int64) error {
	return fmt.Errorf("%w: its %d bytes have no control block; "+
		"if another program made it, shmem.Attach takes it with Options.Foreign; "+
		"if it was a segment, it was truncated, and Remove removes it", errs.Foreign, size)
}

// formatError makes an error of package format one of the sentinels.
func formatError(err error, size int64) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, format.ErrNone):
		return foreignError(size)
	case errors.Is(err, format.ErrVersion):
		return fmt.Errorf("%w: %v; it may be in use: stop its processes, then Remove it",
			errs.Version, err)
	}
	return fmt.Errorf("%w: %v; Remove removes it", errs.Corrupt, err)
}

// readSchema decodes the schema record of a header page. The type is nil where none is stored.
func (c *control) readSchema(page []byte) (rec format.Record, stored *format.Type, err error) {
	if rec, err = format.DecodeRecord(c.head, page); err != nil {
		return rec, nil, formatError(err, 0)
	}
	encoded := rec.Inline(page)
	if rec.Kind == format.AreaRecord {
		encoded = make([]byte, rec.Length)
		if n, err := c.file.ReadAt(encoded, int64(rec.Offset)); err != nil || n < len(encoded) {
			return rec, nil, fmt.Errorf("%w: the schema cannot be read (%v)", errs.Corrupt, err)
		}
	}
	if err := rec.Verify(page, encoded); err != nil {
		return rec, nil, formatError(err, 0)
	}
	if rec.PayloadSize == 0 || rec.PayloadSize > c.head.PayloadCap {
		return rec, nil, fmt.Errorf("%w: a payload of %d bytes", errs.Corrupt, rec.PayloadSize)
	}
	if encoded != nil {
		if stored, err = format.Decode(encoded); err != nil {
			return rec, nil, fmt.Errorf("%w: %v", errs.Corrupt, err)
		}
	}
	is, want := ringIn(c.head), ringOf(stored)
	if is != want && rec.Kind != format.FingerprintOnly {
		return rec, nil, fmt.Errorf("%w: header and type disagree: form %d with %d items at %d, "+
			"and %d with %d at %d; Remove removes it", errs.Corrupt, is.form, is.items, is.words,
			want.form, want.items, want.words)
	}
	return rec, stored, nil
}

// Schema reads the schema record as it is now. The type is nil where none is stored. Without the
// gate an error can mean that another process is writing the record: the caller tries again.
func (c *control) Schema() (rec format.Record, stored *format.Type, err error) {
	_, page, err := readHeader(c.file, c.stat)
	if err != nil {
		return rec, nil, err
	}
	return c.readSchema(page)
}

// owner reads the owner word.
func (c *control) owner() (format.Owner, error) {
	var b [8]byte
	n, err := c.file.ReadAt(b[:], int64(c.head.HeaderOff())+format.OffOwner)
	if err != nil {
		return format.Owner{}, err
	}
	o := format.OwnerOf(binary.NativeEndian.Uint64(b[:]))
	if n < len(b) || !o.Valid() {
		return format.Owner{}, errNoOwner()
	}
	return o, nil
}

func errNoOwner() error {
	return fmt.Errorf("%w: no valid owner word; the file may have been truncated", errs.Corrupt)
}

// setOwner writes the owner word. The gate is held.
func (c *control) setOwner(o format.Owner) error {
	var b [8]byte
	putUint64(b[:], o.Word())
	return c.file.WriteAt(b[:], int64(c.head.HeaderOff())+format.OffOwner)
}

// othersAttached reports whether another attachment with a slot exists. Locks taken through c.file
// do not count, and neither do those that processes share which may only read the file.
func (c *control) othersAttached() (bool, error) {
	return c.file.Held(sys.SlotByte, int64(c.head.SlotCount))
}

// readSlots reads slot records from the slot first on, as many as fit b. In the file they stand in
// the reverse order.
func (c *control) readSlots(b []byte, first int) error {
	if len(b) == 0 {
		return nil
	}
	n, err := c.file.ReadAt(b, c.slotOff(first+len(b)/format.SlotSize-1))
	if err != nil || n < len(b) {
		return fmt.Errorf("%w: slots cannot be read (%v)", errs.Corrupt, err)
	}
	for i, j := 0, len(b)-format.SlotSize; i < j; i, j = i+format.SlotSize, j-format.SlotSize {
		var r [format.SlotSize]byte
		copy(r[:], b[i:])
		copy(b[i:i+format.SlotSize], b[j:])
		copy(b[j:], r[:])
	}
	return nil
}

func (c *control) slotOff(slot int) int64 {
	return int64(c.head.SlotOff(slot))
}
