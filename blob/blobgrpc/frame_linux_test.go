package blobgrpc

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/shmembox/shmem/blob"
	"github.com/shmembox/shmem/shmemtest"
)

// descriptor has messages with fields of bytes wherever there can be some, and messages that other
// programs have in their place.
const descriptor = `
name: "t.proto" package: "t" syntax: "proto2"
message_type: { name: "M"
	field: { name: "b" number: 1 type: TYPE_BYTES label: LABEL_REQUIRED }
	field: { name: "one" number: 2 type: TYPE_BYTES label: LABEL_OPTIONAL oneof_index: 0 }
	field: { name: "other" number: 3 type: TYPE_INT32 label: LABEL_OPTIONAL oneof_index: 0 }
	field: { name: "s" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL }
	field: { name: "list" number: 5 type: TYPE_BYTES label: LABEL_REPEATED }
	field: { name: "m" number: 6 type: TYPE_MESSAGE type_name: ".t.M" label: LABEL_OPTIONAL }
	field: { name: "ms" number: 7 type: TYPE_MESSAGE type_name: ".t.M" label: LABEL_REPEATED }
	oneof_decl: { name: "o" }
}
message_type: { name: "Old" field: { name: "s" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL } }
message_type: { name: "Text" field: { name: "b" number: 1 type: TYPE_STRING label: LABEL_REQUIRED } }
message_type: { name: "Lists"
	field: { name: "b" number: 1 type: TYPE_BYTES label: LABEL_REPEATED }
	field: { name: "m" number: 6 type: TYPE_MESSAGE type_name: ".t.Lists" label: LABEL_REPEATED }
}
`

const threshold = 1000

type rig struct {
	t    *testing.T
	p    *blob.Pool
	tr   *Transport
	file protoreflect.FileDescriptor
}

func newRig(t *testing.T) *rig {
	t.Helper()
	p, err := blob.Open("p", &blob.Options{
		Dir: shmemtest.Dir(t), Classes: []blob.Class{{Size: 1024, Count: 4}, {Size: 8192, Count: 12}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tr := New(p, &Options{Threshold: threshold})
	t.Cleanup(func() { _, _ = tr.Close(), p.Close() })
	d := new(descriptorpb.FileDescriptorProto)
	if err := prototext.Unmarshal([]byte(descriptor), d); err != nil {
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(d, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, p, tr, file}
}

func (r *rig) message(name protoreflect.Name) *dynamicpb.Message {
	return dynamicpb.NewMessage(r.file.Messages().ByName(name))
}

func (r *rig) unused() {
	r.t.Helper()
	for _, c := range r.p.Stats().Classes {
		if c.Used != 0 {
			r.t.Fatalf("%+v", c)
		}
	}
}

// value returns bytes of some length near a limit. They are memory of the pool, or not.
func (r *rig) value(l *loans) []byte {
	n := []int{0, 1, 500, threshold - 1, threshold, threshold + 1, 3000, 8192, 8193, 20_000}[rand.IntN(10)]
	b := bytes.Repeat([]byte{byte('a' + rand.IntN(26))}, n)
	if n < threshold || rand.IntN(2) == 0 {
		return b
	}
	if b2, err := r.p.TryTake(n + 7); err == nil {
		held, err := r.tr.lender.lend(b2)
		if err != nil || !l.taken.addAll([]*lent{held}) {
			r.t.Fatal(err)
		}
		return append(held.all[3:3:3+n], b...)
	}
	return b
}

// random fills a message.
func (r *rig) random(m protoreflect.Message, l *loans, depth int) {
	fields := m.Descriptor().Fields()
	set := func(number protoreflect.FieldNumber, v protoreflect.Value) {
		m.Set(fields.ByNumber(number), v)
	}
	set(1, protoreflect.ValueOfBytes(r.value(l)))
	switch rand.IntN(3) {
	case 0:
		set(2, protoreflect.ValueOfBytes(r.value(l)))
	case 1:
		set(3, protoreflect.ValueOfInt32(7))
	}
	if rand.IntN(2) == 0 {
		set(4, protoreflect.ValueOfString(strings.Repeat("s", rand.IntN(2*threshold))))
		m.Mutable(fields.ByNumber(5)).List().Append(protoreflect.ValueOfBytes(r.value(l)))
		m.SetUnknown([]byte{15 << 3, 1})
	}
	if depth > 0 && rand.IntN(2) == 0 {
		r.random(m.Mutable(fields.ByNumber(6)).Message(), l, depth-1)
		r.random(m.Mutable(fields.ByNumber(7)).List().AppendMutable().Message(), l, depth-1)
	}
}

// TestFrames: any message comes as it was, with copies and in place, kept and handed over, and
// nothing is in use then. It can be in the pool in part, and the pool can be full.
func TestFrames(t *testing.T) {
	r := newRig(t)
	ways := map[string]int{}
	for i := range 2000 {
		l := &loans{t: r.tr}
		q, got := r.message("M"), r.message("M")
		r.random(q, l, 3)
		before := proto.Clone(q)
		adopt, inbox := func([]*lent) bool { return false }, new(loan)
		if i%2 == 0 {
			adopt = inbox.addAll
		}
		var err error
		if i%3 == 0 {
			var p *parcel
			if p, err = r.tr.pack(q); err == nil && p != nil {
				var frame []byte
				if frame, err = p.frame(kept); err == nil {
					err = read(frame, got, adopt)
				}
				p.close()
			} else if err == nil {
				proto.Merge(got, q)
			}
		} else {
			data, failed := codec{}.Marshal(&Message{Value: q, t: r.tr})
			if failed != nil {
				t.Fatal(failed)
			}
			frame := data.Materialize()
			ways[string('0'+rune(frame[0]))]++
			err = read(frame, got, adopt)
		}
		if err != nil || !proto.Equal(got, q) || !proto.Equal(q, before) {
			t.Fatalf("%v\n%.2000v\nwant\n%.2000v", err, got, q)
		}
		l.release()
		inbox.release()
		r.unused()
	}
	if len(ways) != 3 {
		t.Errorf("frames began with %v", ways)
	}
}

// TestOtherMessages: a receiver has other fields than the sender. It gets what it would get from
// the bytes of the message.
func TestOtherMessages(t *testing.T) {
	r := newRig(t)
	for range 300 {
		l := &loans{t: r.tr}
		q := r.message("M")
		r.random(q, l, 2)
		wire, err := proto.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []protoreflect.Name{"Old", "Text", "Lists"} {
			want, got, inbox := r.message(name), r.message(name), new(loan)
			failed := proto.Unmarshal(wire, want)
			data, err := codec{}.Marshal(&Message{Value: q, t: r.tr})
			if err != nil {
				t.Fatal(err)
			}
			err = read(data.Materialize(), got, inbox.addAll)
			if (err != nil) != (failed != nil) {
				t.Fatalf("%s: %v, want %v", name, err, failed)
			}
			got.SetUnknown(nil) // they come in another order
			want.SetUnknown(nil)
			if err == nil && name != "Lists" && !proto.Equal(got, want) {
				t.Fatalf("%s: %.1000v\nwant\n%.1000v", name, got, want)
			}
			inbox.release()
		}
		l.release()
		r.unused()
	}
}

// TestBadFrames: bytes that are no frame are an error, or a message. Nothing panics, and nothing
// stays in use.
func TestBadFrames(t *testing.T) {
	r := newRig(t)
	for range 300 {
		l := &loans{t: r.tr}
		q := r.message("M")
		r.random(q, l, 1)
		p, err := r.tr.pack(q)
		if err != nil || p == nil {
			l.release()
			continue
		}
		frame, err := p.frame(kept)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			bad := bytes.Clone(frame)
			for range 1 + rand.IntN(3) {
				bad[rand.IntN(min(len(bad), 100))] = byte(rand.IntN(256))
			}
			inbox := new(loan)
			_ = read(bad[:rand.IntN(len(bad)+1)], r.message("M"), inbox.addAll)
			inbox.release()
		}
		p.close()
		l.release()
		r.unused()
	}
}
