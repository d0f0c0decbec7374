package shmem

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shmembox/shmem/internal/format"
)

// maxDifferences bounds the lines of a MismatchError.
const maxDifferences = 20

// check compares what the request wants with what the segment holds, under the gate. It sets the
// segment's size. A record is returned if it is to be replaced by that of the request's schema.
func (r *request) check(s *Segment, page []byte) (*format.Record, error) {
	rec, stored, err := s.readSchema(page)
	if err != nil {
		return nil, err
	}
	s.size.Store(int64(rec.PayloadSize))
	if r.compose != nil {
		t, err := r.compose(int(min(rec.PayloadSize, math.MaxInt)), stored)
		if err != nil {
			return nil, s.mismatch(err.Error())
		}
		// Raw bytes are no such thing: what it is made of was prepared when it was created.
		if rec.Kind == format.NoSchema {
			return nil, s.mismatch("here " + t.String() + ", in the segment raw bytes")
		}
		r.composed = t
		_, err = s.compare(t, rec, stored)
		return nil, err
	}
	if r.schema == nil {
		if r.size != 0 && uint64(r.size) != rec.PayloadSize {
			return nil, s.mismatch(fmt.Sprintf("size: here %d bytes, in the segment %d", r.size, rec.PayloadSize))
		}
		return nil, nil
	}
	return s.compare(r.schema, rec, stored)
}

// readSchema reads the schema record from the header page; the schema is nil where none is stored.
func (s *Segment) readSchema(page []byte) (rec format.Record, stored *format.Type, err error) {
	if rec, err = format.DecodeRecord(s.head, page); err != nil {
		return rec, nil, formatError(err, 0)
	}
	encoded := rec.Inline(page)
	if rec.Kind == format.AreaRecord {
		encoded = make([]byte, rec.Length)
		if n, err := s.file.ReadAt(encoded, int64(rec.Offset)); err != nil || n < len(encoded) {
			return rec, nil, fmt.Errorf("%w: the schema cannot be read (%v)", ErrCorrupt, err)
		}
	}
	if err := rec.Verify(page, encoded); err != nil {
		return rec, nil, formatError(err, 0)
	}
	if rec.PayloadSize == 0 || rec.PayloadSize > s.head.PayloadCap {
		return rec, nil, fmt.Errorf("%w: a payload of %d bytes", ErrCorrupt, rec.PayloadSize)
	}
	if encoded != nil {
		if stored, err = format.Decode(encoded); err != nil {
			return rec, nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
		}
	}
	return rec, stored, nil
}

// compare says whether a value of schema can live in the segment. A record is returned where the
// schema is to be stored.
func (s *Segment) compare(schema *format.Type, rec format.Record, stored *format.Type) (*format.Record, error) {
	switch {
	case rec.Kind != format.NoSchema && (stored != nil && uint64(stored.Size) > rec.PayloadSize ||
		rec.Fingerprint == schema.Fingerprint() && uint64(schema.Size) > rec.PayloadSize):
		return nil, fmt.Errorf("%w: a payload of %d bytes is too small for its type", ErrCorrupt, rec.PayloadSize)
	case rec.Kind == format.NoSchema:
		if uint64(schema.Size) > rec.PayloadSize {
			return nil, s.mismatch(fmt.Sprintf("size: here %d bytes, in the segment %d", schema.Size, rec.PayloadSize))
		}
		return &rec, nil
	case rec.Fingerprint == schema.Fingerprint():
		return nil, nil
	case stored == nil:
		return nil, s.mismatch(fmt.Sprintf("fingerprint: here %016x, in the segment %016x", schema.Fingerprint(), rec.Fingerprint))
	case s.opts.Append && format.Prefix(schema, stored):
		return nil, nil
	case s.opts.Append && format.Prefix(stored, schema):
		if uint64(schema.Size) > s.head.PayloadCap {
			return nil, s.mismatch(fmt.Sprintf("size: here %d bytes, in the segment room for %d; create it with Options.Reserve", schema.Size, s.head.PayloadCap))
		}
		if s.opts.ReadOnly {
			return nil, s.mismatch("the type here has fields that the segment does not have yet, and it is attached read-only")
		}
		rec.PayloadSize = max(rec.PayloadSize, uint64(schema.Size))
		return &rec, nil
	}
	var lines []string
	for i, d := range format.Diff(schema, stored) {
		if i == maxDifferences {
			lines = append(lines, "and more")
			break
		}
		lines = append(lines, d.String())
	}
	return nil, s.mismatch(lines...)
}

func (s *Segment) mismatch(lines ...string) error {
	return &MismatchError{Differences: lines, Program: s.head.Program, Created: time.Unix(0, s.head.Created)}
}

func (s *Segment) canWriteSchema() bool { return s.id != format.Nobody && !s.opts.ReadOnly }

// storeSchema replaces the schema record, under the gate. old is the present record, but for the
// payload size, which is the new one. The record is one write within a page: a kill leaves the old
// one or the new one. A schema that does not fit the page goes beside the present one first.
func (s *Segment) storeSchema(schema *format.Type, old format.Record) error {
	encoded := schema.AppendBinary(nil)
	rec := s.head.NewRecord(encoded, schema.Fingerprint(), old.PayloadSize)
	if rec.Kind == format.AreaRecord {
		if old.Kind == format.AreaRecord {
			end := old.Offset + uint64(old.Length)
			switch n, area := uint64(len(encoded)), s.head.SchemaOff; {
			case area+n <= old.Offset:
			case end+n <= area+s.head.SchemaCap:
				rec.Offset = end
			default:
				return errors.New("there is no room to store the longer schema; remove the segment and create it anew")
			}
		}
		if err := s.file.WriteAt(encoded, int64(rec.Offset)); err != nil {
			return err
		}
	}
	b := make([]byte, format.HeaderSize-format.OffRecord)
	n := rec.Encode(b, encoded)
	if err := s.file.WriteAt(b[:n], int64(s.head.HeaderOff())+format.OffRecord); err != nil {
		return err
	}
	s.size.Store(int64(rec.PayloadSize))
	return nil
}
