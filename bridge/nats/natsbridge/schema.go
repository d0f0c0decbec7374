package natsbridge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/step"
)

// ErrRefused is returned when a segment cannot be bridged: its type has fields that change without
// a version, or the types of the two machines differ.
var ErrRefused = errors.New("refused")

// bytesPrint is the fingerprint in frames of raw bytes, which have no type.
const bytesPrint = 0

// here is what the bytes of a type depend on beside the type: byte order and size of an int.
func here() []byte {
	order := byte('l')
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		order = 'b'
	}
	return []byte{order, '0' + byte(32<<(^uint(0)>>63)/8)}
}

func schemaKey(fingerprint uint64) string { return fmt.Sprintf("schema.%016x", fingerprint) }

// putSchema stores a type under its fingerprint, unless the bucket has it.
func putSchema(ctx context.Context, kv jetstream.KeyValue, t *format.Type) error {
	key := schemaKey(t.Fingerprint())
	_, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		_, err = kv.Create(ctx, key, append(here(), t.AppendBinary(nil)...))
	}
	step.Reach(at.Typed)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return nil
	}
	return err
}

// hasSchema is the proof that the bucket has a type.
func hasSchema(kv jetstream.KeyValue, fingerprint uint64) proof {
	return func(ctx context.Context) (bool, error) {
		_, err := kv.Get(ctx, schemaKey(fingerprint))
		return err == nil, err
	}
}

// getSchema returns the type of a fingerprint. Another machine wrote it.
func getSchema(
	ctx context.Context, kv jetstream.KeyValue, fingerprint uint64,
) (*format.Type, error) {
	e, err := kv.Get(ctx, schemaKey(fingerprint))
	if err != nil {
		return nil, fmt.Errorf("type %016x: %w", fingerprint, err)
	}
	b, is := e.Value(), string(here())
	if len(b) < 2 || string(b[:2]) != is {
		return nil, fmt.Errorf("%w: the origin has byte order and word size %q, this is %q",
			ErrRefused, b[:min(2, len(b))], is)
	}
	t, err := format.Decode(b[2:])
	if err == nil && t.Fingerprint() != fingerprint {
		err = errors.New("the schema is not that of its fingerprint")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: type %016x: %w", ErrRefused, fingerprint, err)
	}
	return t, nil
}

// schemaFor is for how long a bridge looks for the type of a message. A bridge stores the type
// first, but a server that lags behind may not have it yet. Tests change it.
var schemaFor = time.Second

// schema is getSchema for a type that is about to be in the bucket. It waits once for each type.
func (b *Bridge) schema(
	ctx context.Context, kv jetstream.KeyValue, fingerprint uint64,
) (*format.Type, error) {
	for begun := time.Now(); ; sleep(ctx, schemaFor/20) {
		t, err := getSchema(ctx, kv, fingerprint)
		if !errors.Is(err, jetstream.ErrKeyNotFound) || b.unknown.Load() == fingerprint ||
			ctx.Err() != nil {
			return t, err
		}
		if time.Since(begun) > schemaFor {
			b.unknown.Store(fingerprint)
		}
	}
}

// unfit returns what becomes of a message whose type the mirror cannot have, for a cause. If the
// bridge that sends has this type now, the route is refused, and nothing is lost: it goes on once
// the mirror is made anew. Else only this message is refused, which is errFrame: another program
// wrote it, or the segment had this type before.
func (b *Bridge) unfit(
	ctx context.Context, r *route, fingerprint uint64, cause error,
) error {
	if errors.Is(cause, jetstream.ErrKeyNotFound) { // a bridge stores the type first
		return fmt.Errorf("%w: it has type %016x, which the bucket does not know; the mirror %s",
			errFrame, fingerprint, b.describe(r.segment))
	}
	if !errors.Is(cause, ErrRefused) {
		return cause
	}
	s, err := b.js.Stream(ctx, r.stream(b.o.Prefix))
	if err != nil {
		return cause
	}
	last, err := s.GetLastMsgForSubject(ctx, r.subject(b.o.Prefix))
	if err != nil {
		return cause
	}
	if f, _, err := anyFrame(last.Data); err != nil || f.fingerprint == fingerprint {
		return cause
	}
	return fmt.Errorf("%w: %w", errFrame, cause)
}

// describe returns the type of a segment as the end of a sentence.
func (b *Bridge) describe(name string) string {
	o, err := inspect.Open(b.o.Dir, name)
	if err != nil {
		return "is not there yet"
	}
	defer o.Close()
	t := o.Type()
	if t == nil {
		return "is raw bytes"
	}
	item := t.Item()
	if item == nil {
		return "is a " + t.Stream()
	}
	text := item.String()
	if b, err := item.AppendBinary(nil); err == nil {
		if f, err := format.Decode(b); err == nil {
			text = f.String()
		}
	}
	return "is a " + t.Stream() + " of " + text
}

// checkBox returns an error for a type whose fields change without a new version of the box.
func checkBox(t *format.Type) error {
	if layout.IsKind(t) {
		return fmt.Errorf("%w: the segment is %s, not a box", ErrRefused, layout.Described(t))
	}
	if path := atomicField(t, ""); path != "" {
		return fmt.Errorf("%w: field %s is of a sync/atomic or psync type: it changes without "+
			"Update or Store, so its changes would not be sent; keep it in another box",
			ErrRefused, path)
	}
	return nil
}

// atomicField returns the path of the first field that changes by itself, "" if there is none.
func atomicField(t *format.Type, path string) string {
	switch {
	case t.Atomic || t.Kind == format.Sync:
		if path == "" {
			return "value"
		}
		return strings.TrimPrefix(path, ".")
	case t.Elem != nil:
		return atomicField(t.Elem, path+"[]")
	}
	for i := range t.Fields {
		f := &t.Fields[i]
		if p := atomicField(f.Type, path+"."+f.Name); p != "" {
			return p
		}
	}
	return ""
}

// incarnation is when a segment was created. Versions and positions belong to one incarnation.
func incarnation(dir, name string) (uint64, error) {
	info, err := shmem.Stat(dir, name)
	return uint64(info.Created.UnixNano()), err
}

// same returns errBegin if a name leads to another incarnation now. What was attached to in between
// could be either: its positions under a wrong incarnation would be taken for duplicates.
func same(dir, name string, inc uint64) error {
	now, err := incarnation(dir, name)
	if err == nil && now != inc {
		return errBegin
	}
	return err
}
