package segment

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/step"
)

// maxDifferences bounds the lines of a MismatchError.
const maxDifferences = 20

// check compares what the request wants with what the segment holds, and sets the attachment's size
// and type. The gate is not held. A record is returned if the request's schema is to replace it.
func (o *opening) check(a *Attachment, page []byte) (*format.Record, error) {
	rec, stored, err := a.readSchema(page)
	if err != nil {
		return nil, err
	}
	a.size.Store(int64(rec.PayloadSize))
	if o.Compose != nil {
		return o.checkComposed(a, rec, stored)
	}
	if o.Schema == nil {
		if o.Size != 0 && uint64(o.Size) != rec.PayloadSize {
			return nil, a.mismatch("size: here %d bytes, in the segment %d", o.Size,
				rec.PayloadSize)
		}
		return nil, nil
	}
	a.typ = o.Schema
	return a.compare(o.Schema, rec, stored)
}

// checkComposed is check for a type composed at run time.
func (o *opening) checkComposed(
	a *Attachment, rec format.Record, stored *format.Type,
) (_ *format.Record, err error) {
	a.typ, err = o.Compose(int(min(rec.PayloadSize, math.MaxInt)), stored)
	if err != nil {
		return nil, a.mismatches(linesOf(err))
	}
	// The parts of a composed value were initialised when it was created: raw bytes never are one.
	if rec.Kind == format.NoSchema {
		return nil, a.mismatch("here %s, in the segment raw bytes", a.typ)
	}
	if _, err := a.compare(a.typ, rec, stored); err != nil || stored == nil || o.Grow == nil {
		return nil, err
	}
	if a.typ, err = o.Grow(stored, a.fit); err != nil {
		return nil, a.mismatches(linesOf(err))
	}
	if a.typ == stored {
		return nil, nil
	}
	return &rec, nil
}

// compare decides whether a value of schema can live in the segment. A record is returned where the
// schema is to be stored.
func (a *Attachment) compare(
	schema *format.Type, rec format.Record, stored *format.Type,
) (*format.Record, error) {
	same := rec.Fingerprint == schema.Fingerprint()
	switch {
	case rec.Kind == format.NoSchema:
		if uint64(schema.Size) > rec.PayloadSize {
			return nil, a.mismatch("size: here %d bytes, in the segment %d", schema.Size,
				rec.PayloadSize)
		}
		return &rec, nil
	case stored != nil && uint64(stored.Size) > rec.PayloadSize,
		same && uint64(schema.Size) > rec.PayloadSize:
		return nil, fmt.Errorf("%w: a payload of %d bytes is too small for its type", errs.Corrupt,
			rec.PayloadSize)
	case same:
		return nil, nil
	case stored == nil:
		return nil, a.mismatch("fingerprint: here %016x, in the segment %016x",
			schema.Fingerprint(), rec.Fingerprint)
	case layout.IsKind(stored) && !layout.IsKind(schema):
		return nil, a.mismatch("the segment is %s, not a box of %s",
			layout.Described(stored), layout.NameOf(schema))
	}
	fits, err := a.fit("", schema, stored, a.head.PayloadCap)
	if err != nil {
		return nil, a.mismatches(linesOf(err))
	}
	if fits == stored {
		return nil, nil
	}
	rec.PayloadSize = max(rec.PayloadSize, uint64(schema.Size))
	return &rec, nil
}

// A Fit compares a type of this program with the one that is stored, which stands at a path of the
// segment's type, where there is room for so many bytes. It returns the type that is to be stored:
// that one, or a longer one. The error says how they differ.
type Fit func(path string, here, stored *format.Type, room uint64) (*format.Type, error)

// fit is the Fit of the segment. A type may have fields appended where the creator allowed that:
// then a program with fewer fields uses the segment without further ado, and one with more fields
// stores its type.
func (a *Attachment) fit(
	path string, here, stored *format.Type, room uint64,
) (*format.Type, error) {
	grows := a.head.Hints&format.Grows != 0
	hint := ""
	switch {
	case here.Fingerprint() == stored.Fingerprint():
		return stored, nil
	case format.Prefix(here, stored):
		if grows || a.cfg.Append {
			return stored, nil
		}
		hint = "Options.Append accepts fields that are appended"
	case !format.Prefix(stored, here):
		hint = paddingHint(here, stored)
	case uint64(here.Size) > room:
		hint = fmt.Sprintf("size: here %d bytes, in the segment room for %d; "+
			"create it with Options.Reserve", here.Size, room)
	case !grows:
		hint = "no field can be appended, because programs without it could not attach any more; " +
			"create the segment with Options.Reserve, or with Options.Append"
	case a.cfg.ReadOnly:
		hint = "the type here has fields that the segment does not have yet, and it is attached " +
			"read-only"
	case !a.cfg.Append:
		hint = "Options.Append appends what the segment does not have"
	default:
		return here, nil
	}
	return nil, differ(path, here, stored, hint)
}

// paddingHint says why a field that comes last is not an appended one, if that is so.
func paddingHint(here, stored *format.Type) string {
	short, name := stored, format.InPadding(stored, here)
	if name == "" {
		short, name = here, format.InPadding(here, stored)
	}
	if name == "" {
		return ""
	}
	padding := short.Size
	if n := len(short.Fields); n > 0 {
		padding -= short.Fields[n-1].Offset + short.Fields[n-1].Type.Size
	}
	return fmt.Sprintf("field %s lies in the padding at the end of the shorter type; with a field "+
		"_ [%d]byte before it, it can be appended", name, padding)
}

// A difference is an error of several lines, each of which becomes one of a MismatchError.
type difference []string

func (d difference) Error() string { return strings.Join(d, "; ") }

// differ returns the differences of two types, and what to do about them where hint says it.
func differ(path string, here, stored *format.Type, hint string) error {
	var lines difference
	for i, d := range format.DiffAt(path, here, stored) {
		if i == maxDifferences {
			lines = append(lines, "and more")
			break
		}
		lines = append(lines, d.String())
	}
	if hint != "" {
		lines = append(lines, hint)
	}
	return lines
}

// linesOf returns the lines of an error of a Fit or of a Request.Compose: errors.Join makes one of
// each error.
func linesOf(err error) []string {
	var d difference
	if errors.As(err, &d) {
		return d
	}
	return strings.Split(err.Error(), "\n")
}

func (a *Attachment) mismatch(form string, args ...any) error {
	return a.mismatches([]string{fmt.Sprintf(form, args...)})
}

func (a *Attachment) mismatches(lines []string) error {
	h := a.head
	return &MismatchError{Differences: lines, Program: h.Program, Created: time.Unix(0, h.Created)}
}

func (a *Attachment) canWriteSchema() bool { return a.id != format.NoID && !a.cfg.ReadOnly }

var errSchemaRoom = fmt.Errorf("%w: there is no room to store the longer schema; "+
	"remove the segment and create it anew", errs.Mismatch)

// A newSchema is a schema record that is to replace the present one.
type newSchema struct {
	rec     format.Record
	encoded []byte
}

// placeSchema returns the record of schema, and where it is to be stored. old is the present record
// with the new payload size. It writes nothing.
func (a *Attachment) placeSchema(schema *format.Type, old format.Record) (*newSchema, error) {
	encoded := schema.AppendBinary(nil)
	rec := a.head.NewRecord(encoded, schema.Fingerprint(), old.PayloadSize)
	if rec.Kind == format.FingerprintOnly && old.Kind != format.NoSchema {
		return nil, errSchemaRoom
	}
	if rec.Kind == format.AreaRecord && old.Kind == format.AreaRecord {
		end := old.Offset + uint64(old.Length)
		switch n, area := uint64(len(encoded)), a.head.SchemaOff; {
		case area+n <= old.Offset:
		case end+n <= area+a.head.SchemaCap:
			rec.Offset = end
		default:
			return nil, errSchemaRoom
		}
	}
	return &newSchema{rec, encoded}, nil
}

// writeSchema replaces the schema record. The gate is held. The record is one write within a page:
// a death leaves the old record or the new one. A schema that does not fit the header page is
// written beside the present one first.
func (a *Attachment) writeSchema(s *newSchema) error {
	if s.rec.Kind == format.AreaRecord {
		if err := a.file.WriteAt(s.encoded, int64(s.rec.Offset)); err != nil {
			return err
		}
	}
	b := make([]byte, format.HeaderSize-format.OffRecord)
	n := s.rec.Encode(b, s.encoded)
	if err := a.file.WriteAt(b[:n], int64(a.head.HeaderOff())+format.OffRecord); err != nil {
		return err
	}
	a.size.Store(int64(s.rec.PayloadSize))
	return nil
}

// storeSchema replaces the schema record. The gate is held. old is the present record with the new
// payload size.
func (a *Attachment) storeSchema(schema *format.Type, old format.Record) error {
	s, err := a.placeSchema(schema, old)
	if err != nil {
		return err
	}
	return a.writeSchema(s)
}

// A Binding connects the attachment to its box.
type Binding struct {
	Invalidate func() // makes the box's pointer unreachable
	Drop       func() // drops the value; nil: nothing to drop
	// Check says whether the value of a foreign file is what it is taken for; nil: it cannot tell.
	Check func() error
}

// Bind binds a box to an attachment that no other goroutine uses yet.
func (a *Attachment) Bind(b Binding) { a.bound, a.binding = true, b }

// BindTyped binds a box of type schema to an attachment in use. The schema must fit what is stored;
// where no schema is stored, it is stored now. An attachment has one box.
func (a *Attachment) BindTyped(schema *format.Type, b Binding) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.Closed():
		return errs.Closed
	case a.bound:
		return errors.New("the segment has a box already")
	case a.head == nil:
		if schema.Size > a.Size() {
			return fmt.Errorf("%w: size: here %d bytes, in the file %d", errs.Mismatch, schema.Size,
				a.Size())
		}
		if err := a.checkAlign(schema); err != nil {
			return err
		}
		if err := a.checkValue(b.Check); err != nil {
			return err
		}
	default:
		if err := a.adopt(schema); err != nil {
			return err
		}
	}
	a.Bind(b)
	return nil
}

// checkValue calls check, and makes its error one of a type that does not fit.
func (a *Attachment) checkValue(check func() error) (err error) {
	if check == nil {
		return nil
	}
	if f := a.m.Guard(func() { err = check() }); f != nil {
		return a.Fault(f)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errs.Mismatch, err)
	}
	return nil
}

// adopt compares schema with the stored one and stores it where none is.
func (a *Attachment) adopt(schema *format.Type) error {
	for {
		page, missing, err := a.compareNow(schema)
		// without the gate it may be half written: read it once more
		if errors.Is(err, errs.Corrupt) {
			page, missing, err = a.compareNow(schema)
		}
		if err != nil || missing == nil || !a.canWriteSchema() {
			return err
		}
		if err := a.storeMissing(schema, *missing, page); err != errStale {
			return err
		}
	}
}

// compareNow compares schema with what is stored now. It returns the header page, too.
func (a *Attachment) compareNow(
	schema *format.Type,
) (page []byte, missing *format.Record, err error) {
	st, err := a.file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if _, page, err = readHeader(a.file, st); err != nil {
		return page, nil, err
	}
	rec, stored, err := a.readSchema(page)
	if err != nil {
		return page, nil, err
	}
	missing, err = a.compare(schema, rec, stored)
	return page, missing, err
}

// storeMissing takes the gate and stores the schema. errStale: the record is not that of page any
// more.
func (a *Attachment) storeMissing(schema *format.Type, missing format.Record, page []byte) error {
	if err := a.enter(a.deadline()); err != nil {
		return err
	}
	step.Reach(step.SchemaGate)
	defer a.leave()
	var now [format.RecordSize]byte
	n, err := a.file.ReadAt(now[:], int64(a.head.HeaderOff())+format.OffRecord)
	switch {
	case err != nil:
		return err
	case n < len(now):
		return fmt.Errorf("%w: the file was truncated while it was read", errs.Corrupt)
	case now != [format.RecordSize]byte(page[format.OffRecord:]):
		return errStale
	}
	if err := a.storeSchema(schema, missing); err != nil {
		return err
	}
	step.Reach(step.SchemaWrite)
	return nil
}
