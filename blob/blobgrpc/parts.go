package blobgrpc

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A path leads to a field of bytes: the numbers of the messages it is in, and its own.
type path []protowire.Number

// maxPath bounds how deep a field is looked for.
const maxPath = 8

// A field is one of bytes.
type field struct {
	at    path
	value []byte
}

// large appends the fields of bytes that have at least least bytes: those of the message, and of
// messages in it that are not in lists, maps or extensions.
func large(list []field, m protoreflect.Message, least int, at path) []field {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Cardinality() == protoreflect.Repeated || fd.IsExtension() {
			return true
		}
		switch {
		case fd.Kind() == protoreflect.BytesKind && len(v.Bytes()) >= least:
			list = append(list, field{append(slices.Clone(at), fd.Number()), v.Bytes()})
		case fd.Kind() == protoreflect.MessageKind && len(at) < maxPath-1:
			list = large(list, v.Message(), least, append(slices.Clip(at), fd.Number()))
		}
		return true
	})
	return list
}

// without returns a message that shares all fields with m, except for those fields. depth is the
// number of messages around m.
func without(m protoreflect.Message, fields []field, depth int) protoreflect.Message {
	rest := m.New()
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		var below []field
		for _, f := range fields {
			if f.at[depth] != fd.Number() {
				continue
			}
			if len(f.at) == depth+1 {
				return true
			}
			below = append(below, f)
		}
		if below != nil {
			v = protoreflect.ValueOfMessage(without(v.Message(), below, depth+1))
		}
		rest.Set(fd, v)
		return true
	})
	rest.SetUnknown(m.GetUnknown())
	return rest
}

// set sets a field of bytes, which aliases its value. Where the receiver has another type of
// message than the sender, the value is copied.
func set(m protoreflect.Message, f field) error {
	is := m
	for i, number := range f.at {
		fd := is.Descriptor().Fields().ByNumber(number)
		if fd == nil || fd.Cardinality() == protoreflect.Repeated {
			break
		}
		if i == len(f.at)-1 && fd.Kind() == protoreflect.BytesKind {
			is.Set(fd, protoreflect.ValueOfBytes(f.value))
			return nil
		}
		if fd.Kind() != protoreflect.MessageKind {
			break
		}
		is = is.Mutable(fd).Message()
	}
	wire := f.value
	for _, number := range slices.Backward(f.at) {
		wire = protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), wire)
	}
	return proto.UnmarshalOptions{Merge: true, AllowPartial: true}.Unmarshal(wire, m.Interface())
}
