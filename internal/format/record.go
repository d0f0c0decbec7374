package format

import (
	"hash/crc32"
	"slices"
)

// A RecordKind says where the schema is.
type RecordKind uint32

const (
	NoSchema        RecordKind = iota // raw bytes; PayloadSize may be known
	InlineRecord                      // behind the record, in the header page
	AreaRecord                        // in the schema area
	FingerprintOnly                   // it fits nowhere
)

// A Record is the schema record, which says which type the payload holds.
type Record struct {
	Kind        RecordKind
	Length      uint32 // of the encoded schema
	Fingerprint uint64
	PayloadSize uint64 // of the value, at most Header.PayloadCap
	Offset      uint64 // of the schema in the file, for an AreaRecord
}

// NewRecord returns the record for a schema, which h has room for. The caller writes the schema of
// an AreaRecord to Offset before the record, and the schema of an InlineRecord together with it.
// Without a schema it returns the record of raw bytes.
func (h *Header) NewRecord(schema []byte, fingerprint, payloadSize uint64) Record {
	r := Record{Fingerprint: fingerprint, PayloadSize: payloadSize}
	switch n := uint64(len(schema)); {
	case n == 0:
		r.Kind, r.Fingerprint = NoSchema, 0
	case n <= InlineSchema:
		r.Kind, r.Length = InlineRecord, uint32(n)
	case n <= h.SchemaCap:
		r.Kind, r.Length, r.Offset = AreaRecord, uint32(n), h.SchemaOff
	default:
		r.Kind = FingerprintOnly
	}
	return r
}

// Encode writes the record to b, which begins at [OffRecord] of the header page: [RecordSize]
// bytes, followed by an inline schema. It returns how many bytes it wrote. A schema that is stored
// has r.Length bytes; other kinds ignore it.
func (r *Record) Encode(b []byte, schema []byte) int {
	if r.Kind != InlineRecord && r.Kind != AreaRecord {
		schema = nil
	}
	clear(b[:RecordSize])
	r.head(b)
	native.PutUint32(b[OffRecordCheck-OffRecord:], r.check(schema))
	if r.Kind != InlineRecord {
		return RecordSize
	}
	return RecordSize + copy(b[RecordSize:], schema)
}

func (r *Record) head(b []byte) {
	native.PutUint32(b[OffRecordKind-OffRecord:], uint32(r.Kind))
	native.PutUint32(b[OffRecordLength-OffRecord:], r.Length)
	native.PutUint64(b[OffRecordFingerprint-OffRecord:], r.Fingerprint)
	native.PutUint64(b[OffRecordPayloadSize-OffRecord:], r.PayloadSize)
	native.PutUint64(b[OffRecordOffset-OffRecord:], r.Offset)
}

func (r *Record) check(schema []byte) uint32 {
	var b [OffRecordCheck - OffRecord]byte
	r.head(b[:])
	return crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, schema)
}

// DecodeRecord decodes the record in the header page of a segment. Its schema lies within the
// limits of the header. The checksum covers the schema too, so the caller calls [Record.Verify] as
// well. For a page on which no record was ever written it returns the zero Record.
func DecodeRecord(header *Header, page []byte) (Record, error) {
	if len(page) < HeaderSize {
		return Record{}, corrupt("a header page of %d bytes", len(page))
	}
	r := Record{
		Kind:        RecordKind(native.Uint32(page[OffRecordKind:])),
		Length:      native.Uint32(page[OffRecordLength:]),
		Fingerprint: native.Uint64(page[OffRecordFingerprint:]),
		PayloadSize: native.Uint64(page[OffRecordPayloadSize:]),
		Offset:      native.Uint64(page[OffRecordOffset:]),
	}
	if r == (Record{}) && native.Uint32(page[OffRecordCheck:]) == 0 {
		return r, nil
	}
	length, offset := uint64(r.Length), r.Offset
	switch r.Kind {
	case NoSchema:
		if length != 0 || offset != 0 || r.Fingerprint != 0 {
			return Record{}, corrupt("a schema of no kind")
		}
	case InlineRecord:
		if length < 1 || length > InlineSchema || offset != 0 {
			return Record{}, corrupt("an inline schema of %d bytes", length)
		}
	case AreaRecord:
		if length < 1 || length > header.SchemaCap || offset < header.SchemaOff ||
			offset-header.SchemaOff > header.SchemaCap-length {
			return Record{}, corrupt("a schema of %d bytes at %d", length, offset)
		}
	case FingerprintOnly:
		if length != 0 || offset != 0 {
			return Record{}, corrupt("a fingerprint with a schema")
		}
	default:
		return Record{}, corrupt("a schema of kind %d", r.Kind)
	}
	if r.PayloadSize < 1 || r.PayloadSize > header.PayloadCap {
		return Record{},
			corrupt("a value of %d bytes in a payload of %d", r.PayloadSize, header.PayloadCap)
	}
	return r, nil
}

// Inline returns a copy of the schema of an InlineRecord, nil for other kinds.
func (r Record) Inline(page []byte) []byte {
	if r.Kind != InlineRecord || r.Length > InlineSchema || len(page) < HeaderSize {
		return nil
	}
	return slices.Clone(page[OffInline:][:r.Length])
}

// Verify reports whether the record of page and its schema, nil for the kinds without one, were
// written together.
func (r Record) Verify(page []byte, schema []byte) error {
	if len(page) < HeaderSize {
		return corrupt("a header page of %d bytes", len(page))
	}
	if uint64(r.Length) != uint64(len(schema)) {
		return corrupt("a schema of %d bytes instead of %d", len(schema), r.Length)
	}
	check := native.Uint32(page[OffRecordCheck:])
	if r == (Record{}) && check == 0 {
		return nil
	}
	if sum := r.check(schema); sum != check {
		return corrupt("schema checksum %#x is not %#x", sum, check)
	}
	return nil
}
