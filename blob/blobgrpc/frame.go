package blobgrpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/shmembox/shmem/blob"
)

// pools are the pools of all Transports that are open, by ID.
var pools = struct {
	sync.RWMutex
	all map[uint64][]*lender // guarded by the mutex
}{all: map[uint64][]*lender{}}

// lenderOf returns the lender of a pool, for a new Transport.
func lenderOf(pool *blob.Pool) *lender {
	pools.Lock()
	defer pools.Unlock()
	list := pools.all[pool.ID()]
	i := slices.IndexFunc(list, func(l *lender) bool { return l.pool == pool })
	if i < 0 {
		i = len(list)
		list = append(slices.Clip(list), &lender{pool: pool})
		pools.all[pool.ID()] = list
	}
	list[i].uses++
	return list[i]
}

// drop ends a use by a Transport.
func (l *lender) drop() {
	pools.Lock()
	defer pools.Unlock()
	if l.uses--; l.uses > 0 {
		return
	}
	id := l.pool.ID()
	list := slices.DeleteFunc(slices.Clone(pools.all[id]), func(is *lender) bool { return is == l })
	if pools.all[id] = list; len(list) == 0 {
		delete(pools.all, id)
	}
}

// A parcel is a message in buffers of a pool.
type parcel struct {
	parts []part
	whole *blob.Buffer // the rest of the message; nil: it is in rest
	rest  []byte
}

// A part is where a field of a message is.
type part struct {
	field
	b   *blob.Buffer
	off int
}

// close ends the shares of a parcel.
func (p *parcel) close() {
	for i := range p.parts {
		_ = p.parts[i].b.Close()
	}
	if p.whole != nil {
		_ = p.whole.Close()
	}
}

// pack writes a message into buffers. Fields that are in the pool already stay where they are. It
// returns nil if the message is small or no buffer is free, and if it cannot be written: gRPC finds
// the error when it tries.
func (t *Transport) pack(v any) (*parcel, error) {
	m := messageOf(v)
	if m == nil || proto.Size(m) < t.threshold {
		return nil, nil
	}
	p := new(parcel)
	fields := large(nil, m.ProtoReflect(), t.threshold, nil)
	for _, f := range fields {
		b, off, err := t.place(f.value)
		if b == nil {
			p.close()
			return nil, err
		}
		p.parts = append(p.parts, part{f, b, off})
	}
	if len(fields) > 0 {
		if proto.CheckInitialized(m) != nil {
			p.close()
			return nil, nil
		}
		m = without(m.ProtoReflect(), fields, 0).Interface()
	}
	n := proto.Size(m)
	if n >= t.threshold {
		p.whole = t.put(m, n)
	}
	var err error
	if p.whole == nil && len(fields) > 0 {
		p.rest, err = proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	}
	if err != nil || p.whole == nil && len(fields) == 0 {
		p.close()
		return nil, nil //nolint:nilerr // gRPC finds it
	}
	return p, nil
}

// place returns a share of a buffer that has a value, and where the value begins there. It returns
// nil if no buffer is free.
func (t *Transport) place(value []byte) (b *blob.Buffer, off int, err error) {
	b, off, err = t.lender.share(value)
	if b != nil || errors.Is(err, errReleased) {
		return b, off, err
	}
	if b, err = t.pool.TryTake(len(value)); err != nil {
		return nil, 0, nil //nolint:nilerr // the message goes over the connection
	}
	if _, err = b.WriteAt(value, 0); err != nil {
		_ = b.Close()
		return nil, 0, nil
	}
	return b, 0, nil
}

// put writes a message of n bytes into a buffer, or returns nil.
func (t *Transport) put(m proto.Message, n int) *blob.Buffer {
	b, err := t.pool.TryTake(n)
	if err != nil {
		return nil
	}
	err = b.Update(func(all []byte) error {
		options := proto.MarshalOptions{UseCachedSize: true, AllowPartial: true}
		got, err := options.MarshalAppend(all[:0], m)
		if err == nil && (len(got) != n || &got[0] != &all[0]) {
			err = errors.New("blobgrpc: the message was changed while it was sent")
		}
		return err
	})
	if err != nil {
		_ = b.Close()
		return nil
	}
	return b
}

// frame returns the frame of a parcel, with the handles that handle returns.
func (p *parcel) frame(handle func(*blob.Buffer) (blob.Handle, error)) ([]byte, error) {
	var frame []byte
	for i := range p.parts {
		is := &p.parts[i]
		h, err := handle(is.b)
		if err != nil {
			return nil, err
		}
		frame = binary.AppendUvarint(append(frame, inPart), uint64(len(is.at)))
		for _, number := range is.at {
			frame = binary.AppendUvarint(frame, uint64(number))
		}
		frame, _ = h.AppendBinary(frame)
		frame = binary.AppendUvarint(frame, uint64(is.off))
		frame = binary.AppendUvarint(frame, uint64(len(is.value)))
	}
	if p.whole == nil {
		return append(append(frame, inline), p.rest...), nil
	}
	h, err := handle(p.whole)
	if err != nil {
		return nil, err
	}
	return h.AppendBinary(append(frame, byHandle))
}

// kept returns a handle of a buffer of which the sender keeps a share.
func kept(b *blob.Buffer) (blob.Handle, error) { return b.Handle(), nil }

// send hands a message over, and returns its frame. It returns nil if the message is to go over the
// connection.
func (t *Transport) send(v any) ([]byte, error) {
	p, err := t.pack(v)
	if p == nil {
		return nil, err
	}
	var sent []blob.Handle
	frame, err := p.frame(func(b *blob.Buffer) (blob.Handle, error) {
		h, err := b.HandOver(t.lease)
		if err == nil {
			sent = append(sent, h)
		}
		return h, err
	})
	if err == nil {
		return frame, nil
	}
	for _, h := range sent {
		if b, err := t.pool.Resolve(h); err == nil {
			_ = b.Close()
		}
	}
	p.close()
	return nil, nil
}

// A reader reads a frame.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint(most uint64) int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) handle() (h blob.Handle) {
	if len(r.b) < blob.HandleSize || h.UnmarshalBinary(r.b[:blob.HandleSize]) != nil {
		r.bad = true
		return h
	}
	r.b = r.b[blob.HandleSize:]
	return h
}

// parts reads the fields that a frame begins with, and leaves the rest.
func (r *reader) parts() (list []arrival, err error) {
	for !r.bad && len(r.b) > 0 && r.b[0] == inPart {
		r.b = r.b[1:]
		a := arrival{at: make(path, r.uvarint(maxPath))}
		for i := range a.at {
			a.at[i] = protowire.Number(r.uvarint(uint64(protowire.MaxValidNumber)))
			r.bad = r.bad || a.at[i] == 0
		}
		a.handle, a.off, a.n = r.handle(), r.uvarint(1<<62), r.uvarint(1<<62)
		r.bad = r.bad || len(a.at) == 0
		list = append(list, a)
	}
	if r.bad || len(r.b) == 0 {
		return nil, errNoFrame
	}
	return list, nil
}

// An arrival is a field that is received.
type arrival struct {
	at     path
	handle blob.Handle
	off, n int
	is     *lent
}

// take lends the bytes of a field.
func (a *arrival) take() error {
	b, l, err := resolve(a.handle)
	if err != nil {
		return err
	}
	is, err := l.lend(b)
	if err != nil {
		_ = b.Close()
		return err
	}
	a.is = is
	if a.off > len(is.all) || a.n > len(is.all)-a.off {
		return fmt.Errorf("%w: a field at %d with %d bytes in a buffer of %d", errNoFrame, a.off,
			a.n, len(is.all))
	}
	return nil
}

// resolve returns the buffer of a handle.
func resolve(h blob.Handle) (*blob.Buffer, *lender, error) {
	pools.RLock()
	list := pools.all[h.Pool()]
	pools.RUnlock()
	if len(list) == 0 {
		return nil, nil, fmt.Errorf("blobgrpc: %w", blob.ErrOtherPool)
	}
	b, err := list[0].pool.Resolve(h)
	return b, list[0], err
}

// read reads a frame into a message, or a message that is in no frame: that is what a server sends
// whose own interceptors have replaced a reply.
func read(frame []byte, m proto.Message, adopt func(list []*lent) bool) error {
	if len(frame) == 0 || frame[0] > byHandle {
		return proto.Unmarshal(frame, m)
	}
	r := &reader{b: frame}
	parts, err := r.parts()
	if err != nil {
		return err
	}
	adopted := false
	defer func() {
		for i := range parts {
			if parts[i].is != nil && !adopted {
				parts[i].is.l.end(parts[i].is)
			}
		}
	}()
	for i := range parts {
		if err := parts[i].take(); err != nil {
			return err
		}
	}
	if err := readRest(r, m, len(parts) > 0); err != nil {
		return err
	}
	if adopt != nil && len(parts) > 0 {
		list := make([]*lent, len(parts))
		for i := range parts {
			list[i] = parts[i].is
		}
		adopted = adopt(list)
	}
	return setParts(m, parts, adopted)
}

// setParts sets the fields that were not in the rest of a message.
func setParts(m proto.Message, parts []arrival, inPlace bool) error {
	for i := range parts {
		a := &parts[i]
		value := a.is.all[a.off : a.off+a.n : a.off+a.n]
		if !inPlace {
			value = bytes.Clone(value)
		}
		if err := set(m.ProtoReflect(), field{a.at, value}); err != nil {
			return err
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return proto.CheckInitialized(m)
}

// readRest reads what follows the fields of a frame.
func readRest(r *reader, m proto.Message, partial bool) error {
	options := proto.UnmarshalOptions{AllowPartial: partial}
	kind := r.b[0]
	r.b = r.b[1:]
	if kind == inline {
		return options.Unmarshal(r.b, m)
	}
	h := r.handle()
	if kind != byHandle || r.bad || len(r.b) > 0 {
		return errNoFrame
	}
	b, _, err := resolve(h)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	return b.View(func(all []byte) error { return options.Unmarshal(all, m) })
}
