package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	_ "github.com/shmembox/shmem/kv" // it opens maps whose types are known at run time only
)

// A bucket is that of a map: a key for each entry, and one that says which bridge sends it.
type bucket struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	name   string
	prefix string // of the subjects
	ttl    bool   // messages can have a time to live

	created uint64 // Unix nanoseconds; revisions belong to one bucket
}

// headName is the key of the frame without a body that says which bridge sends the map, which types
// it has, and its capacity as the sequence. No entry has this name.
const headName = "_bridge"

// openBucket returns the bucket of a map.
func (b *Bridge) openBucket(ctx context.Context, r *route) (*bucket, error) {
	name := r.bucket(b.o.Prefix)
	s, err := b.js.Stream(ctx, "KV_"+name)
	if err != nil {
		return nil, err
	}
	return &bucket{
		js: b.js, stream: s, name: name, prefix: "$KV." + name + ".",
		ttl:     s.CachedInfo().Config.AllowMsgTTL,
		created: uint64(s.CachedInfo().Created.UnixNano()),
	}, nil
}

// last returns the last message of a key, nil if there is none.
func (k *bucket) last(ctx context.Context, name string) (*jetstream.RawStreamMsg, error) {
	m, err := k.stream.GetLastMsgForSubject(ctx, k.prefix+name)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return m, err
}

// consumer returns a consumer of the last messages of all keys, and of those that come; or, with a
// first one, of the headers of messages from that one on.
func (k *bucket) consumer(ctx context.Context, first uint64) (jetstream.Consumer, error) {
	c := jetstream.ConsumerConfig{
		FilterSubject: k.prefix + ">", DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: 30 * time.Second,
		MemoryStorage: true, Replicas: 1,
	}
	if first != 0 {
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, first
		c.HeadersOnly = true
	}
	return k.js.CreateConsumer(ctx, "KV_"+k.name, c)
}

// Headers of the messages of a bucket.
const (
	operationHeader = "KV-Operation"
	deleteOperation = "DEL"
	markerHeader    = "Nats-Marker-Reason"
)

// removes reports whether a message says that a key was removed, by a bridge or by the server.
func removes(get func(string) string) bool {
	return get(operationHeader) != "" || get(markerHeader) != ""
}

// nameOf returns the key of a message of the bucket.
func (k *bucket) nameOf(subject string) string { return strings.TrimPrefix(subject, k.prefix) }

// A mapType is the types of the keys and values of a map. The schema that travels is that of a
// struct of both, so maps of different capacity have the same one.
type mapType struct {
	key, value *format.Type

	schema      *format.Type
	fingerprint uint64
}

func newMapType(key, value *format.Type) (*mapType, error) {
	if frameLen+key.Size > longestFrame {
		return nil, fmt.Errorf("%w: a key has %d bytes; the bridge takes %d", ErrRefused,
			key.Size, longestFrame-frameLen)
	}
	if nameless(key) {
		return nil, fmt.Errorf("%w: all fields of a key are without a name", ErrRefused)
	}
	s, err := layout.Struct("kv.Entry", layout.Part{Name: "Key", Type: key},
		layout.Part{Name: "Value", Type: value})
	if err != nil {
		return nil, fmt.Errorf("%w: key and value: %w", ErrRefused, err)
	}
	return &mapType{key, value, s, s.Fingerprint()}, nil
}

// mapTypeOf returns the types of a map from a schema. Another machine wrote it.
func mapTypeOf(schema *format.Type) (*mapType, error) {
	if schema.Kind == format.Struct && len(schema.Fields) == 2 {
		t, err := newMapType(schema.Fields[0].Type, schema.Fields[1].Type)
		if err != nil {
			return nil, err
		}
		if t.fingerprint == schema.Fingerprint() {
			return t, nil
		}
	}
	return nil, fmt.Errorf("%w: the type %s is not that of the entries of a map",
		ErrRefused, schema)
}

// describe returns the types of keys and values.
func (t *mapType) describe() string {
	return "kv.Map[" + t.key.String() + ", " + t.value.String() + "]"
}

// entry returns the frame and value of a message, whose key in the bucket is that.
func (t *mapType) entry(name string, b []byte) (f frame, value []byte, err error) {
	f, value, err = parseFrame(codes[kindMap], b)
	switch {
	case err != nil:
		return f, nil, err
	case f.fingerprint != t.fingerprint:
		return f, nil, errOtherType
	case len(f.key) != t.key.Size || len(value) != t.value.Size:
		return f, nil, fmt.Errorf("%w: key and value of %d and %d bytes, want %d and %d", errFrame,
			len(f.key), len(value), t.key.Size, t.value.Size)
	}
	if is := keyName(t.key, f.key); is != name {
		return f, nil, fmt.Errorf("%w: it is that of %s", errFrame, is)
	}
	return f, value, nil
}

// errOtherType is returned for an entry of other types than those of the map.
var errOtherType = errors.New("an entry of another type")

var seed = maphash.MakeSeed()

// sumOf is a hash of what an entry has. It is never 0, which stands for none, or 1.
func sumOf(value []byte, expires int64) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	maphash.WriteComparable(&h, expires)
	_, _ = h.Write(value)
	return h.Sum64() | 1<<63
}

const (
	noSum    = 0 // there is no entry
	otherSum = 1 // something that is no entry of the map
)
