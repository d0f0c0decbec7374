package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// Sizes and limits of the control block.
const (
	Version      = 2
	HeaderSize   = 4096 // of the header page, the last bytes of the file
	SlotSize     = 64
	RecordSize   = 40 // of the schema record without the schema
	MaxSlots     = 1 << slotBits
	MaxSchema    = 1 << 20 // bytes of an encoded schema
	InlineSchema = HeaderSize - OffInline
	MinPageSize  = 4096
	MaxPageSize  = 1 << 20

	alignment = 64 // of image, schema area and slots: a cache line
	orderMark = 0x01020304
)

// Magic is the beginning of a header.
const Magic = "ShmemBox"

// Offsets in the header page.
const (
	OffMagic      = 0
	OffVersion    = 8
	OffOrder      = 12
	OffTotalSize  = 16
	OffPayloadCap = 24
	OffControlOff = 32
	OffImageOff   = 40
	OffSchemaOff  = 48
	OffSchemaCap  = 56
	OffSlotsOff   = 64
	OffSlotCount  = 72
	OffWordSize   = 76
	OffPageSize   = 80
	OffFlags      = 84
	OffCreated    = 88
	OffCreatorPID = 96
	OffCreatorUID = 100
	OffCreatorNS  = 104
	OffProgram    = 112
	OffID         = 144
	OffLifetime   = 160
	OffForm       = 164
	OffItems      = 168
	OffWords      = 176
	OffIno        = 184
	OffDev        = 192
	OffLeaseOff   = 200
	OffLeaseCount = 208
	OffLeaseSize  = 212
	OffHints      = 216
	OffWordStep   = 220
	OffReserve    = 224
	OffReserved   = 232
	OffCheck      = 244
	FixedSize     = 248 // what Header.Encode writes

	// Written only under the gate.
	OffOwner    = 256
	OffSlotHigh = 264

	// The lock of the box, each group on its own cache line.
	OffLock         = 320
	OffLockArmed    = 324
	OffSeq          = 384
	OffSeqArmed     = 392
	OffReaders      = 448
	OffReadersArmed = 452

	// Changes of the segment's life.
	OffEvents      = 512
	OffEventsArmed = 520
	OffGone        = 524

	// The schema record, written only under the gate.
	OffRecord            = 960
	OffRecordKind        = 960
	OffRecordLength      = 964
	OffRecordFingerprint = 968
	OffRecordPayloadSize = 976
	OffRecordOffset      = 984
	OffRecordCheck       = 992
	OffInline            = 1000

	programSize = OffID - OffProgram
)

// Offsets in a slot.
const (
	SlotGen      = 0
	SlotBell     = 4
	SlotSleeping = 8
	SlotReader   = 12
	SlotInterest = 16
	SlotPending  = 24
	SlotPID      = 32
	SlotFlags    = 36
	SlotPIDNS    = 40
	SlotStarted  = 48
	SlotBaton    = 56

	// In SlotFlags.
	SlotReadOnly = 1 << 0 // attached read-only
	SlotCarries  = 1 << 1 // its leader looks for a baton
	SlotNoDrop   = 1 << 2 // cannot drop the value
	SlotPassive  = 1 << 4 // counts for nothing in the segment's life
	SlotUnclean  = 1 << 3 // the attachment that had the slot before did not detach
)

// Errors of decoding a header or a schema record. Functions return them wrapped with the reason.
var (
	ErrNone    = errors.New("no control block")
	ErrVersion = errors.New("control block of another version")
	ErrCorrupt = errors.New("corrupt control block")
)

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	native     = binary.NativeEndian
)

// A Header is the part of the control block that never changes.
type Header struct {
	TotalSize  uint64 // the file's
	PayloadCap uint64 // bytes for the value and its growth
	ControlOff uint64 // where the control block begins
	ImageOff   uint64 // 0: no undo image
	SchemaOff  uint64 // 0: no schema area
	SchemaCap  uint64
	SlotsOff   uint64 // of the last slot; see SlotOff
	SlotCount  uint32
	WordSize   uint32 // bytes of the creator's int
	PageSize   uint32 // the creator's
	Flags      uint32 // 0
	Created    int64  // Unix nanoseconds

	// Only to be displayed.
	CreatorPID, CreatorUID uint32
	CreatorNS              uint64
	Program                string // at most 32 bytes

	ID [16]byte

	Lifetime Lifetime // as which the segment was created
	Form     Form
	Items    uint64 // message slots of a ring; messages or bytes of a single one
	Words    uint64 // where in the payload the words of the message slots begin
	WordStep uint32 // bytes from word to word; 8: there is nothing between them

	Ino, Dev uint64 // the file for which the header was written

	// An area between schema area and slots: reserved.
	LeaseOff              uint64
	LeaseCount, LeaseSize uint32

	Hints   uint32 // a bit that a program does not know changes nothing for it
	Reserve uint64 // bytes of spare room that the creator asked for, for fields that are appended
}

// MaxWordStep is the largest distance between the words of two message slots. It is a power of two.
const MaxWordStep = 64

// Grows is the bit of Header.Hints that says that fields may be appended to the type: the creator
// said so. A program whose type has fewer fields is attached to such a segment.
const Grows = 1 << 0

// ImageSize returns the size of the undo image, 0 if there is none.
func (h *Header) ImageSize() uint64 {
	if h.ImageOff == 0 {
		return 0
	}
	return (h.PayloadCap + alignment - 1) &^ (alignment - 1)
}

// HeaderOff returns the offset of the header page in the file.
func (h *Header) HeaderOff() uint64 { return h.TotalSize - HeaderSize }

// SlotOff returns the offset of a slot in the file. Slot 0 is directly before the header page, each
// other slot before the one with the next lower number: one read has the header and the first
// slots.
func (h *Header) SlotOff(slot int) uint64 { return h.HeaderOff() - uint64(slot+1)*SlotSize }

// Encode fills bytes 0..247 of the header page.
func (h *Header) Encode(page []byte) {
	page = page[:FixedSize]
	clear(page)
	copy(page, Magic)
	native.PutUint32(page[OffVersion:], Version)
	native.PutUint32(page[OffOrder:], orderMark)
	native.PutUint64(page[OffTotalSize:], h.TotalSize)
	native.PutUint64(page[OffPayloadCap:], h.PayloadCap)
	native.PutUint64(page[OffControlOff:], h.ControlOff)
	native.PutUint64(page[OffImageOff:], h.ImageOff)
	native.PutUint64(page[OffSchemaOff:], h.SchemaOff)
	native.PutUint64(page[OffSchemaCap:], h.SchemaCap)
	native.PutUint64(page[OffSlotsOff:], h.SlotsOff)
	native.PutUint32(page[OffSlotCount:], h.SlotCount)
	native.PutUint32(page[OffWordSize:], h.WordSize)
	native.PutUint32(page[OffPageSize:], h.PageSize)
	native.PutUint32(page[OffFlags:], h.Flags)
	native.PutUint64(page[OffCreated:], uint64(h.Created))
	native.PutUint32(page[OffCreatorPID:], h.CreatorPID)
	native.PutUint32(page[OffCreatorUID:], h.CreatorUID)
	native.PutUint64(page[OffCreatorNS:], h.CreatorNS)
	copy(page[OffProgram:OffID], programName(h.Program))
	copy(page[OffID:], h.ID[:])
	native.PutUint32(page[OffLifetime:], uint32(h.Lifetime))
	native.PutUint32(page[OffForm:], uint32(h.Form))
	native.PutUint64(page[OffItems:], h.Items)
	native.PutUint64(page[OffWords:], h.Words)
	native.PutUint32(page[OffWordStep:], h.WordStep)
	native.PutUint64(page[OffIno:], h.Ino)
	native.PutUint64(page[OffDev:], h.Dev)
	native.PutUint64(page[OffLeaseOff:], h.LeaseOff)
	native.PutUint32(page[OffLeaseCount:], h.LeaseCount)
	native.PutUint32(page[OffLeaseSize:], h.LeaseSize)
	native.PutUint32(page[OffHints:], h.Hints)
	native.PutUint64(page[OffReserve:], h.Reserve)
	native.PutUint32(page[OffCheck:], crc32.Checksum(page[:OffCheck], castagnoli))
}

// programName returns as much of s as fits: whole characters before the first NUL.
func programName(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	if len(s) <= programSize {
		return s
	}
	end := programSize
	for end > programSize-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// DecodeHeader decodes the last [HeaderSize] bytes of a file of fileSize bytes. In a header that it
// returns, payload, image, schema area, slots and header page lie in this order, aligned, without
// overlap, and within the file. The file's size fits an int64, so sums of an offset and its length
// do not overflow. Program may hold any bytes except NUL.
func DecodeHeader(page []byte, fileSize int64) (*Header, error) {
	if len(page) < HeaderSize || fileSize < HeaderSize || string(page[:len(Magic)]) != Magic {
		return nil, ErrNone
	}
	// These come first: another version may compute the checksum in another way.
	switch order := native.Uint32(page[OffOrder:]); order {
	case orderMark:
	case bits.ReverseBytes32(orderMark):
		return nil, fmt.Errorf("%w: written by a machine of the other byte order", ErrVersion)
	default:
		return nil, corrupt("byte order mark %#x", order)
	}
	switch v := native.Uint32(page[OffVersion:]); {
	case v == 0:
		return nil, corrupt("version 0")
	case v != Version:
		return nil, fmt.Errorf("%w: it is of format version %d, this library reads %d", ErrVersion,
			v, Version)
	}
	check := native.Uint32(page[OffCheck:])
	if sum := crc32.Checksum(page[:OffCheck], castagnoli); sum != check {
		return nil, corrupt("checksum %#x is not %#x", sum, check)
	}
	h := &Header{
		TotalSize:  native.Uint64(page[OffTotalSize:]),
		PayloadCap: native.Uint64(page[OffPayloadCap:]),
		ControlOff: native.Uint64(page[OffControlOff:]),
		ImageOff:   native.Uint64(page[OffImageOff:]),
		SchemaOff:  native.Uint64(page[OffSchemaOff:]),
		SchemaCap:  native.Uint64(page[OffSchemaCap:]),
		SlotsOff:   native.Uint64(page[OffSlotsOff:]),
		SlotCount:  native.Uint32(page[OffSlotCount:]),
		WordSize:   native.Uint32(page[OffWordSize:]),
		PageSize:   native.Uint32(page[OffPageSize:]),
		Flags:      native.Uint32(page[OffFlags:]),
		Created:    int64(native.Uint64(page[OffCreated:])),
		CreatorPID: native.Uint32(page[OffCreatorPID:]),
		CreatorUID: native.Uint32(page[OffCreatorUID:]),
		CreatorNS:  native.Uint64(page[OffCreatorNS:]),
	}
	program, _, _ := bytes.Cut(page[OffProgram:OffID], []byte{0})
	h.Program = string(program)
	copy(h.ID[:], page[OffID:])
	h.decodeLife(page)
	if err := h.validate(uint64(fileSize)); err != nil {
		return nil, err
	}
	return h, nil
}

// Adopt makes a valid header page that of another file. It is for tests, which copy segments.
func Adopt(page []byte, ino, dev uint64) {
	native.PutUint64(page[OffIno:], ino)
	native.PutUint64(page[OffDev:], dev)
	native.PutUint32(page[OffCheck:], crc32.Checksum(page[:OffCheck], castagnoli))
}

// decodeLife decodes what says when the segment ends, and which file the header belongs to.
func (h *Header) decodeLife(page []byte) {
	h.Lifetime = Lifetime(native.Uint32(page[OffLifetime:]))
	h.Form = Form(native.Uint32(page[OffForm:]))
	h.Items = native.Uint64(page[OffItems:])
	h.Words = native.Uint64(page[OffWords:])
	h.WordStep = native.Uint32(page[OffWordStep:])
	h.Ino = native.Uint64(page[OffIno:])
	h.Dev = native.Uint64(page[OffDev:])
	h.LeaseOff = native.Uint64(page[OffLeaseOff:])
	h.LeaseCount = native.Uint32(page[OffLeaseCount:])
	h.LeaseSize = native.Uint32(page[OffLeaseSize:])
	h.Hints = native.Uint32(page[OffHints:])
	h.Reserve = native.Uint64(page[OffReserve:])
}

// validate goes from the beginning of the file to its end: each part begins at the end of the part
// before it, or later. No sum overflows: before an offset and a length are added both are known to
// lie within the file, which has less than 1<<63 bytes.
func (h *Header) validate(fileSize uint64) error {
	if h.Flags != 0 {
		return fmt.Errorf("%w: flags %#x", ErrVersion, h.Flags)
	}
	page := uint64(h.PageSize)
	switch {
	case h.TotalSize != fileSize:
		return corrupt("made for %d bytes, the file has %d", h.TotalSize, fileSize)
	case page < MinPageSize || page > MaxPageSize || page&(page-1) != 0:
		return corrupt("page size %d", page)
	case h.TotalSize%page != 0 || h.TotalSize < HeaderSize || h.TotalSize > math.MaxInt64:
		return corrupt("file size %d", h.TotalSize)
	case h.WordSize != 4 && h.WordSize != 8:
		return corrupt("word size %d", h.WordSize)
	case h.SlotCount < 1 || h.SlotCount > MaxSlots:
		return corrupt("%d slots", h.SlotCount)
	case h.SchemaCap > MaxSchema || (h.SchemaCap == 0) != (h.SchemaOff == 0):
		return corrupt("schema area of %d bytes at %d", h.SchemaCap, h.SchemaOff)
	case h.PayloadCap < 1:
		return corrupt("payload of %d bytes", h.PayloadCap)
	}
	end := uint64(0)
	for _, part := range []struct {
		name            string
		off, len, align uint64
	}{
		{"payload", 0, h.PayloadCap, page},
		{"control block", h.ControlOff, 0, page},
		{"undo image", h.ImageOff, h.ImageSize(), alignment},
		{"schema area", h.SchemaOff, h.SchemaCap, alignment},
		{"leases", h.LeaseOff, uint64(h.LeaseCount) * uint64(h.LeaseSize), alignment},
		{"slots", h.SlotsOff, uint64(h.SlotCount) * SlotSize, alignment},
		{"header", h.HeaderOff(), HeaderSize, alignment},
	} {
		if part.off == 0 && part.len == 0 && part.name != "control block" {
			continue // none
		}
		if part.off < end || part.off > h.TotalSize || part.len > h.TotalSize-part.off ||
			part.off%part.align != 0 {
			return corrupt("%s of %d bytes at %d", part.name, part.len, part.off)
		}
		end = part.off + part.len
	}
	if h.SlotsOff+uint64(h.SlotCount)*SlotSize != h.HeaderOff() {
		return corrupt("%d slots at %d do not end at the header", h.SlotCount, h.SlotsOff)
	}
	return h.validateLife()
}

// validateLife checks lifetime and form. The words of a ring lie within the payload.
func (h *Header) validateLife() error {
	if h.Lifetime < LifetimeOwned || h.Lifetime > LifetimeKept {
		return corrupt("lifetime %d", h.Lifetime)
	}
	switch h.Form {
	case FormValue:
		if h.Items != 0 || h.Words != 0 || h.WordStep != 0 {
			return corrupt("a value of %d items, words at %d", h.Items, h.Words)
		}
	case FormSingle, FormSingleBytes:
		if h.Items == 0 || h.Words != 0 || h.WordStep != 0 {
			return corrupt("a ring of %d items, words at %d", h.Items, h.Words)
		}
	case FormQueue, FormBytes, FormTopic:
		step := uint64(h.WordStep)
		if h.Items == 0 || h.Words%8 != 0 || h.Words > h.PayloadCap ||
			step < 8 || step > MaxWordStep || step&(step-1) != 0 ||
			h.Items > (h.PayloadCap-h.Words)/step {
			return corrupt("a ring of %d items, words at %d, every %d bytes", h.Items, h.Words,
				step)
		}
	default:
		return corrupt("form %d", h.Form)
	}
	return nil
}

// Layout returns the header of a new file for a value of payloadSize bytes that can grow by reserve
// bytes, with or without an undo image, and with a schema of schemaLen bytes, 0 if there is none. A
// schema that fits the header page needs no schema area. For a schema of more than [MaxSchema]
// bytes only the fingerprint is stored. Layout sets sizes and offsets, and the lifetime to Owned;
// the other fields are zero.
func Layout(
	payloadSize, reserve uint64, slots int, image bool, schemaLen int, pageSize uint64,
) (*Header, error) {
	switch {
	case pageSize < MinPageSize || pageSize > MaxPageSize || pageSize&(pageSize-1) != 0:
		return nil, fmt.Errorf("page size %d", pageSize)
	case slots < 1 || slots > MaxSlots:
		return nil, fmt.Errorf("%d slots; 1 to %d are possible", slots, MaxSlots)
	case payloadSize < 1:
		return nil, errors.New("a payload of no bytes")
	case schemaLen < 0:
		return nil, fmt.Errorf("a schema of %d bytes", schemaLen)
	// A quarter of the largest int64: image and control block fit too.
	case payloadSize > math.MaxInt64/4 || reserve > math.MaxInt64/4-payloadSize:
		return nil, fmt.Errorf("a payload of %d bytes and %d spare ones is too large", payloadSize,
			reserve)
	}
	h := &Header{
		PayloadCap: payloadSize + reserve,
		SlotCount:  uint32(slots),
		WordSize:   bits.UintSize / 8,
		PageSize:   uint32(pageSize),
		Lifetime:   LifetimeOwned,
	}
	up := func(n, align uint64) uint64 { return (n + align - 1) &^ (align - 1) }
	h.ControlOff = up(h.PayloadCap, pageSize)
	end := h.ControlOff
	if image {
		h.ImageOff = end
		end += h.ImageSize()
	}
	if schemaLen > InlineSchema && schemaLen <= MaxSchema {
		h.SchemaOff, h.SchemaCap = end, up(uint64(schemaLen), alignment)
		end += h.SchemaCap
	}
	tail := uint64(slots)*SlotSize + HeaderSize
	h.TotalSize = up(end+tail, pageSize)
	h.SlotsOff = h.TotalSize - tail
	return h, nil
}
