package main

import (
	"fmt"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/inspect"
	"github.com/shmembox/shmem/internal/layout"
)

// The kinds of segments that the library makes.
const (
	kindBox     = "box"
	kindBytes   = "bytes" // without a schema
	kindQueue   = "queue"
	kindTopic   = "topic"
	kindMap     = "map"
	kindCache   = "cache"
	kindService = "service"
	kindBlob    = "blob"
)

// kindsByType are the kinds of segments, by the names of their types. A type of another name is
// that of a box.
var kindsByType = map[string]string{
	"":               kindBytes,
	layout.QueueName: kindQueue,
	layout.BytesName: kindQueue,
	layout.TopicName: kindTopic, layout.TopicBytesName: kindTopic,
	layout.MapName:   kindMap,
	layout.CacheName: kindCache,
	layout.CallsName: kindService,
	layout.PoolName:  kindBlob,
}

// kindOfType is the kind of a segment whose type has that name.
func kindOfType(name string) string {
	if kind, ok := kindsByType[name]; ok {
		return kind
	}
	return kindBox
}

// kindOfSegment is the kind of a segment.
func kindOfSegment(o *inspect.Observer) string {
	if o.Type() == nil {
		return kindBytes
	}
	return kindOfType(o.Type().Name())
}

// kindOf says what a file is in a word.
func kindOf(r row) string {
	switch {
	case r.State == shmem.Foreign && r.what != "":
		return r.what
	case r.State == shmem.Foreign:
		return "foreign"
	}
	return kindOfType(r.Type)
}

// whatItIs says what a segment is, for errors.
func whatItIs(o *inspect.Observer) string {
	switch kind := kindOfSegment(o); {
	case o.Info().State == shmem.Foreign:
		return "a file of another program"
	case kind == kindBytes:
		return "a segment of bytes without a schema"
	case kind == kindBox:
		return "a box of " + cut(o.Type().String(), 60)
	case kind == kindService:
		return "an " + cut(typeName(o.Type()), 80)
	default:
		return "a " + cut(typeName(o.Type()), 80)
	}
}

// unfit returns the error of a command that is for segments of other kinds: what the segment is,
// what the command is for, and what to use instead.
func (e *env) unfit(o *inspect.Observer, name, forWhat string) error {
	content := map[string]string{kindBox: "value", kindBytes: "bytes", kindQueue: "messages",
		kindTopic: "messages", kindMap: "entries", kindCache: "entries", kindService: "calls",
		kindBlob: "buffers"}
	return fmt.Errorf("%s: %w: it is %s, and %s %s; `%s` shows its %s", name, errRefused,
		whatItIs(o), e.verb, forWhat, e.command("watch", name), content[kindOfSegment(o)])
}

// needsBox returns the error of unfit for a segment that has a schema, and whose type is no box's.
// What else may be wrong with the segment is left to the command.
func (e *env) needsBox(name, forWhat string) error {
	o, err := e.inspect(name)
	if err != nil {
		return nil
	}
	defer o.Close()
	if kind := kindOfSegment(o); kind == kindBox || kind == kindBytes {
		return nil
	}
	return e.unfit(o, name, forWhat)
}
