package natsbridge

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// TestTopicBytes: messages of any length come in order and none twice, also to a late host and
// after a restart. One that the server does not take counts as lost.
func TestTopicBytes(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from, err := topic.OpenBytes("p", &topic.BytesOptions{Dir: x.a, Bytes: 8 << 20})
	check(t, err)
	defer from.Close()
	sent := [][]byte{{}, []byte("two"), bytes.Repeat([]byte{3}, 100_000)}
	for i := range 300 {
		sent = append(sent, bytes.Repeat([]byte{byte(i)}, i))
	}
	_, err = from.PublishBatch(ctx, sent[:100])
	check(t, err)
	out, end := x.begin(x.a, "topic:p", true)
	until(t, "the first", func() bool { return out.Stats()[0].Sent == 100 })
	endIn := x.start(x.b, "topic:p", false)
	to, err := topic.AttachBytesWait(ctx, "p", &topic.BytesOptions{Dir: x.b})
	check(t, err)
	defer to.Close()
	sub, err := to.Subscribe(topic.Oldest)
	check(t, err)
	want := func(all [][]byte) {
		t.Helper()
		for i, w := range all {
			if b, err := sub.Recv(ctx, nil); err != nil || !bytes.Equal(b, w) {
				t.Fatalf("%d: %d bytes, %v, want %d", i, len(b), err, len(w))
			}
		}
	}
	// The mirror keeps 16 messages.
	want(sent[100-to.Cap() : 100])
	end()
	endIn()
	_, err = from.PublishBatch(ctx, sent[100:110])
	check(t, err)
	check(t, from.Publish(ctx, make([]byte, 2<<20)))
	x.run(x.a, "topic:p", true)
	in := x.run(x.b, "topic:p", false)
	want(sent[100:110])
	check(t, from.Publish(ctx, []byte("last")))
	want([][]byte{[]byte("last")})
	until(t, "the loss", func() bool { return in.Stats()[0].Lost == 1 })
}

// TestLargeQueue: a message that the server does not take stays in its queue, and one that the
// mirror does not take goes to the dead letters. Others go on.
func TestLargeQueue(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	from, err := queue.OpenBytes("p", &queue.BytesOptions{Dir: x.a, Bytes: 8 << 20})
	check(t, err)
	defer from.Close()
	to, err := queue.OpenBytes("p", &queue.BytesOptions{Dir: x.b, Bytes: 1 << 10})
	check(t, err)
	defer to.Close()
	for _, n := range []int{1, 2 << 20, 2, 2000, 3} {
		check(t, from.Send(ctx, make([]byte, n)))
	}
	was := largeFor
	largeFor = 20 * time.Millisecond
	out, endOut := x.begin(x.a, "queue:p", true)
	defer func() { largeFor = was }()
	in := x.run(x.b, "queue:p", false)
	for _, n := range []int{1, 2, 3} {
		if b, err := to.Recv(ctx, nil); err != nil || len(b) != n {
			t.Errorf("%d bytes, %v, want %d", len(b), err, n)
		}
	}
	until(t, "the counts", func() bool { return out.Stats()[0].Poison == 1 && in.Stats()[0].Poison == 1 })
	js, err := jetstream.New(x.nc)
	check(t, err)
	dead, err := js.Stream(ctx, "shmem_dead")
	check(t, err)
	m, err := dead.GetLastMsgForSubject(ctx, "shmem.dead.p")
	check(t, err)
	f, body, err := parseFrame(codes[kindQueue], m.Data)
	if err != nil || len(body) != 2000 || f.sequence == 0 {
		t.Error(f, len(body), err)
	}
	endOut()
	if b, err := from.Recv(ctx, nil); err != nil || len(b) != 2<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// TestUnfit: a message of a type that the bucket does not know, or that the segment had before, is
// refused with both types shown, and others go on.
func TestUnfit(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	q, err := queue.Open[point]("p", &queue.Options{Dir: x.a})
	check(t, err)
	defer q.Close()
	p, err := topic.Open[point]("t", &topic.Options{Dir: x.a})
	check(t, err)
	defer p.Close()
	kinds, names := []string{kindQueue, kindTopic}, map[string]string{kindQueue: "p", kindTopic: "t"}
	ins := map[string]*Bridge{}
	sends := func(n int64) {
		check(t, q.Send(ctx, point{n, 0}))
		check(t, p.Publish(ctx, point{n, 0}))
	}
	sends(1)
	for _, kind := range kinds {
		x.run(x.a, kind+":p="+names[kind], true)
		ins[kind] = x.run(x.b, kind+":p="+kind, false)
		until(t, kind, func() bool { return ins[kind].Stats()[0].Sent == 1 })
	}
	js, err := jetstream.New(x.nc)
	check(t, err)
	for i, b := range [][]byte{
		[]byte("no frame"),
		(&frame{kind: codes[kindQueue], fingerprint: 77, incarnation: 1, sequence: 1}).append(nil),
		(&frame{kind: codes[kindTopic], fingerprint: 77, incarnation: 1, sequence: 1}).append(nil),
	} {
		for _, kind := range kinds {
			_, err := js.Publish(ctx, "shmem."+kind+".p", b)
			check(t, err)
			until(t, kind, func() bool { return ins[kind].Stats()[0].Poison == int64(i+1) })
		}
	}
	sends(2)
	for _, kind := range kinds {
		until(t, kind, func() bool { return ins[kind].Stats()[0].Sent >= 2 })
		if n := ins[kind].Stats()[0].Sent; n != 2 {
			t.Errorf("%s: %d messages, want 2", kind, n)
		}
	}
	dead, err := js.Stream(ctx, "shmem_dead")
	check(t, err)
	m, err := dead.GetMsg(ctx, 2)
	check(t, err)
	if cause := m.Header.Get("Shmem-Cause"); !strings.Contains(cause, "000000000000004d") ||
		!strings.Contains(cause, "queue.Queue of struct{X int64; Y int64}") {
		t.Error(cause)
	}
}

// TestTypeChanged: a queue or topic that is made anew with another type is refused at the mirror
// with both shown, and nothing is lost: it goes on when the mirror is removed. What it sent before
// does not hold up a host whose mirror has the new type.
func TestTypeChanged(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	q, err := queue.Open[point]("p", &queue.Options{Dir: x.a})
	check(t, err)
	p, err := topic.Open[point]("t", &topic.Options{Dir: x.a})
	check(t, err)
	check(t, q.Send(ctx, point{1, 0}))
	check(t, p.Publish(ctx, point{1, 0}))
	ins := map[string]*Bridge{}
	kinds, names := []string{kindQueue, kindTopic}, map[string]string{kindQueue: "p", kindTopic: "t"}
	for _, kind := range kinds {
		x.run(x.a, kind+":p="+names[kind], true)
		ins[kind] = x.run(x.b, kind+":p="+kind, false)
		until(t, kind, func() bool { return ins[kind].Stats()[0].Sent == 1 })
	}
	check(t, q.Close())
	check(t, p.Close())
	oq, err := queue.Open[otherPoint]("p", &queue.Options{Dir: x.a})
	check(t, err)
	defer oq.Close()
	op, err := topic.Open[otherPoint]("t", &topic.Options{Dir: x.a})
	check(t, err)
	defer op.Close()
	check(t, oq.Send(ctx, otherPoint{2, 0}))
	check(t, op.Publish(ctx, otherPoint{2, 0}))
	for _, kind := range kinds {
		err := hasError(t, ins[kind], ErrRefused)
		if !strings.Contains(err.Error(), "Y") || !strings.Contains(err.Error(), "Z") {
			t.Error(err)
		}
		if n := ins[kind].Stats()[0].Poison; n != 0 {
			t.Errorf("%s: %d dead letters", kind, n)
		}
	}
	late, err := topic.Open[otherPoint]("late", &topic.Options{Dir: x.b})
	check(t, err)
	defer late.Close()
	in := x.run(x.b, "topic:p=late", false)
	until(t, "the late host", func() bool {
		v, _, err := late.Latest()
		return err == nil && v == otherPoint{2, 0} && in.Stats()[0].Poison == 1
	})
	for _, kind := range kinds {
		check(t, shmem.Remove(x.b, kind))
		until(t, kind, func() bool { return ins[kind].Stats()[0].Sent == 2 })
	}
	mq, err := queue.Attach[otherPoint]("queue", &queue.Options{Dir: x.b})
	check(t, err)
	defer mq.Close()
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if v, err := mq.Recv(wait); err != nil || v != (otherPoint{2, 0}) {
		t.Error(v, err)
	}
	if _, err := mq.TryRecv(); !errors.Is(err, queue.ErrEmpty) {
		t.Error(err)
	}
}

// TestTopicTakenBack: a bridge that has the route again after one of another topic goes on where it
// was: nothing comes twice.
func TestTopicTakenBack(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	var from [2]*topic.Topic[point]
	for i, name := range []string{"one", "two"} {
		p, err := topic.Open[point](name, &topic.Options{Dir: x.a})
		check(t, err)
		defer p.Close()
		from[i] = p
	}
	in := x.run(x.b, "topic:p", false)
	for n := range int64(4) {
		check(t, from[n%2].Publish(ctx, point{n, 0}))
		end := x.start(x.a, "topic:p="+[]string{"one", "two"}[n%2], true)
		until(t, "one more", func() bool { return in.Stats()[0].Sent > n })
		end()
		if sent := in.Stats()[0].Sent; sent != n+1 {
			t.Errorf("%d messages, want %d", sent, n+1)
		}
	}
}

// TestMapRemade: a map that is made anew with another capacity goes on; one with other types is
// refused at the mirror with both shown, until that is removed.
func TestMapRemade(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	in := x.run(x.b, "map:m", false)
	for i, capacity := range []int{8, 20} {
		from, err := kv.Open[int64, point]("m", &kv.Options{Dir: x.a, Capacity: capacity})
		check(t, err)
		check(t, from.Set(ctx, 1, point{1, 1}))
		check(t, from.Set(ctx, 2+int64(i), point{2, 2}))
		end := x.start(x.a, "map:m", true)
		to := mirrorOf[int64, point](t, x.b, "m")
		mirrored(t, from, to)
		end()
		check(t, from.Close())
	}
	other := openMap[int64, otherPoint](t, x.a, "m", kv.Options{Capacity: 8})
	check(t, other.Set(ctx, 1, otherPoint{3, 3}))
	out := x.run(x.a, "map:m", true)
	err := hasError(t, in, ErrRefused)
	if !strings.Contains(err.Error(), "Value.Y") || !strings.Contains(err.Error(), "Value.Z") {
		t.Error(err)
	}
	check(t, shmem.Remove(x.b, "m"))
	until(t, "a mirror", func() bool {
		to, err := kv.Attach[int64, otherPoint]("m", &kv.Options{Dir: x.b})
		if err != nil {
			return false
		}
		defer to.Close()
		v, found, err := to.Get(1)
		return err == nil && found && v == otherPoint{3, 3}
	})
	if n := in.Stats()[0].Poison + out.Stats()[0].OtherWriter; n != 0 {
		t.Errorf("%d entries were refused", n)
	}
}

// FuzzEntry: bytes of others never panic, and an entry that passes has the sizes of its types.
func FuzzEntry(f *testing.F) {
	key, err := format.Of(reflect.TypeFor[struct {
		A word
		B [2]int32
	}]())
	check(f, err)
	value, err := format.Of(reflect.TypeFor[point]())
	check(f, err)
	typ, err := newMapType(key, value)
	check(f, err)
	k := make([]byte, key.Size)
	f.Add("=.0.0", append((&frame{
		kind: codes[kindMap], fingerprint: typ.fingerprint, key: k,
	}).append(nil), make([]byte, value.Size)...))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		f, v, err := typ.entry(name, b)
		if err == nil && (len(f.key) != key.Size || len(v) != value.Size) {
			t.Error(len(f.key), len(v))
		}
		for _, s := range [][]byte{b, f.key} {
			if s, err := format.Decode(s); err == nil {
				_, _ = mapTypeOf(s)
			}
		}
	})
}
