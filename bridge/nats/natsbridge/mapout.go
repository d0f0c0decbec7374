package natsbridge

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/stream"
)

// A keeper keeps a bucket as the map is. It knows what the bucket has of each key, and compares the
// map with that where parts of the map have changed. So it misses no change, whatever happened
// while no bridge ran; changes of a key that follow each other fast are conflated. Each put is on
// condition that the key is as the keeper knows it, so one bridge writes a key.
type keeper struct {
	b      *Bridge
	r      *route
	m      stream.Entries
	t      *mapType
	bucket *bucket
	js     jetstream.JetStream // of what is put without waiting
	me     uint64
	inc    uint64
	head   atomic.Uint64 // revision of the head; the claim reads it too

	keys    map[string]*kept
	parts   []part
	changes uint64 // of the map, when it was looked at last
	looked  bool   // it was
	dirty   bool   // it is to be looked at

	versions []uint64 // of the parts
	round    uint64
	took     time.Duration // of the last look
	at       time.Time     // when it ended

	dels, puts []*kept // what is to be sent
	onWay      int
	way        chan journey
	acks       chan journey
	expiring   expiring
	gone       []goneKey
}

// A part of the map, as it was looked at last.
type part struct {
	version uint64
	keys    []*kept
}

// neverLooked is the version of a part that is to be looked at.
const neverLooked = math.MaxUint64

// A kept is a key of the bucket, and what it has or is about to have.
type kept struct {
	name     string
	revision uint64
	part     int    // -1: none
	sum      uint64 // of what was put last, or is to be
	expires  int64
	round    uint64 // in which it was found in the map
	next     []byte // what is to be put
	due      bool   // something is to be put; a next of nil removes the key
	onWay    bool
	echo     uint64 // highest revision that was seen while it was on the way
	heaped   bool   // it is in the heap of those that expire
}

// A journey is a put that is on its way, or has ended.
type journey struct {
	k      *kept
	future jetstream.PubAckFuture
	seq    uint64
	err    error
}

const (
	mapWindow = 256                    // puts of a map that are on the way at most
	pullMap   = 512                    // messages of a bucket that are asked for at a time
	mapLook   = 100 * time.Millisecond // how often a map is looked at whatever happens
)

// mapOut sends a map.
func (b *Bridge) mapOut(ctx context.Context, r *route, kv jetstream.KeyValue) error {
	inc, err := incarnation(b.o.Dir, r.segment)
	if err != nil {
		return err
	}
	m, err := stream.AttachEntries(r.segment, &shmem.Options{Dir: b.o.Dir, Passive: true})
	if err != nil {
		return refusedType(err)
	}
	defer func() { _ = m.Close() }()
	if err := same(b.o.Dir, r.segment, inc); err != nil {
		return err
	}
	l := m.Layout()
	t, err := newMapType(l.Key, l.Value)
	if err != nil {
		return err
	}
	if err := b.tooLarge(l.Key.Size + l.Value.Size); err != nil {
		return err
	}
	k := &keeper{
		b: b, r: r, m: m, t: t, inc: inc, keys: map[string]*kept{},
		parts: make([]part, l.Stripes),
		way:   make(chan journey, mapWindow), acks: make(chan journey, mapWindow),
	}
	for i := range k.parts {
		k.parts[i].version = neverLooked
	}
	k.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncTimeout(look),
		jetstream.WithPublishAsyncMaxPending(mapWindow+1))
	if err != nil {
		return err
	}
	defer k.js.CleanupPublisher()
	return b.claimed(ctx, r, kv, sending{
		schema: t.schema, before: k.open, run: k.run, proofs: []proof{k.headed},
	})
}

// open finds the bucket.
func (k *keeper) open(ctx context.Context) (err error) {
	k.bucket, err = k.b.openBucket(ctx, k.r)
	return err
}

// run takes the bucket over, and keeps it until an error.
func (k *keeper) run(ctx context.Context) error {
	k.me = k.r.claim.me
	var cons jetstream.Consumer
	err := together(ctx, k.takeOver, func(ctx context.Context) (err error) {
		cons, err = k.bucket.consumer(ctx, 0)
		return err
	})
	if err != nil {
		return err
	}
	last, err := k.load(ctx, cons)
	if err != nil {
		return err
	}
	step.Reach(at.MapOutLoaded)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	echoes := make(chan echo, mapWindow)
	changed := make(chan struct{}, 1)
	done := make(chan struct{}, 3)
	for _, f := range []func(context.Context) error{
		func(ctx context.Context) error { return k.listen(ctx, last+1, echoes) },
		func(ctx context.Context) error { return k.watch(ctx, changed) },
		k.acknowledge,
	} {
		go func() {
			stop(f(ctx))
			done <- struct{}{}
		}()
	}
	err = k.keep(ctx, echoes, changed)
	stop(err)
	for range cap(done) {
		<-done
	}
	return context.Cause(ctx)
}

// takeOver says in the bucket that this bridge sends the map, of which types it is, and its
// capacity.
func (k *keeper) takeOver(ctx context.Context) error {
	m, err := k.bucket.last(ctx, headName)
	if err != nil {
		return err
	}
	revision := uint64(0)
	if m != nil {
		revision = m.Sequence
	}
	f := frame{
		kind: codes[kindMap], fingerprint: k.t.fingerprint, incarnation: k.inc,
		sequence: uint64(k.m.Layout().Capacity()), writer: k.me,
	}
	ack, err := k.b.js.Publish(ctx, k.bucket.prefix+headName, f.append(nil),
		jetstream.WithExpectLastSequencePerSubject(revision), jetstream.WithRetryAttempts(0))
	if err == nil {
		k.head.Store(ack.Sequence)
		step.Reach(at.MapOutHeaded)
	}
	return err
}

// headed is the proof that the bucket has the head: one that was purged does not say so.
func (k *keeper) headed(ctx context.Context) (bool, error) {
	head := k.head.Load()
	if head == 0 { // it is not put yet
		return true, nil
	}
	m, err := k.bucket.last(ctx, headName)
	return m != nil && m.Sequence == head, err
}

// errLoaded ends the consumer of what the bucket has.
var errLoaded = errors.New("all is loaded")

// load learns what the bucket has, up to the head. It returns the last revision. The consumer may
// be older than the head: what another bridge has put in between comes after what was there before.
func (k *keeper) load(ctx context.Context, cons jetstream.Consumer) (last uint64, err error) {
	never := func() bool { return false }
	err = k.b.receive(ctx, k.r, cons, pullMap, never, func(
		ctx context.Context, all []arrival,
	) error {
		for i := range all {
			m := all[i].msg
			last = all[i].md.Sequence.Stream
			name := k.bucket.nameOf(m.Subject)
			e := echo{name, last, removes(m.Header.Get)}
			switch {
			case name == headName:
			case k.keys[name] != nil:
				if err := k.heard(ctx, e); err != nil {
					return err
				}
			case !e.removed:
				k.found(name, m.Data, last)
			}
			if last >= k.head.Load() { // what comes after the head, the echo tells
				return errLoaded
			}
		}
		return nil
	})
	if err == errLoaded {
		err = nil
	}
	return last, err
}

// found notes what a key of the bucket has.
func (k *keeper) found(name string, b []byte, revision uint64) {
	x := &kept{name: name, revision: revision, part: -1, sum: otherSum}
	k.keys[name] = x
	f, value, err := k.t.entry(name, b)
	if err == nil {
		x.part, x.expires = k.m.Part(f.key), int64(f.lost)
		x.sum = sumOf(value, x.expires)
	}
	if x.part < 0 {
		k.remove(x) // if the map has it, the look that comes next puts it
		return
	}
	k.parts[x.part].keys = append(k.parts[x.part].keys, x)
}

// An echo is a message of the bucket.
type echo struct {
	name     string
	revision uint64
	removed  bool
}

// listen tells what comes to the bucket.
func (k *keeper) listen(ctx context.Context, first uint64, echoes chan<- echo) error {
	cons, err := k.bucket.consumer(ctx, first)
	if err != nil {
		return err
	}
	never := func() bool { return false }
	last := uint64(0)
	return k.b.receive(ctx, k.r, cons, pullMap, never, func(
		ctx context.Context, all []arrival,
	) error {
		for i := range all {
			a := &all[i]
			if last++; a.md.Sequence.Consumer != last {
				return errBegin // a message was lost on the way
			}
			e := echo{
				k.bucket.nameOf(a.msg.Subject), a.md.Sequence.Stream, removes(a.msg.Header.Get),
			}
			select {
			case echoes <- e:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
}

// watch tells that the map has changed.
func (k *keeper) watch(ctx context.Context, changed chan<- struct{}) error {
	for {
		seen := k.m.Changes()
		select {
		case changed <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := k.m.Wait(ctx, seen); err != nil {
			return err
		}
	}
}

// acknowledge waits for acknowledgements. A future without one fails after look.
func (k *keeper) acknowledge(ctx context.Context) error {
	for {
		select {
		case j := <-k.way:
			select {
			case a := <-j.future.Ok():
				j.seq = a.Sequence
			case j.err = <-j.future.Err():
			case <-ctx.Done():
				return ctx.Err()
			}
			k.acks <- j // it has room for all that are on the way
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// keep sends changes until an error.
func (k *keeper) keep(ctx context.Context, echoes <-chan echo, changed <-chan struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case j := <-k.acks:
			err = k.ended(ctx, j)
		case e := <-echoes:
			err = k.heard(ctx, e)
		case <-changed:
			k.dirty = true
		case <-timer.C:
			k.dirty = k.dirty || k.m.Changes() != k.changes
		}
		for more := true; more && err == nil; { // all that has come
			select {
			case j := <-k.acks:
				err = k.ended(ctx, j)
			case e := <-echoes:
				err = k.heard(ctx, e)
			default:
				more = false
			}
		}
		if err == nil && closed(k.m.Unlinked()) {
			err = errBegin
		}
		if err == nil {
			err = k.look()
		}
		if err == nil {
			err = k.send(ctx)
		}
		if err != nil {
			return err
		}
		k.r.stats.turned()
		k.r.stats.moved()
		timer.Reset(k.pause())
	}
}

// pause returns for how long there is nothing to do if nothing happens.
func (k *keeper) pause() time.Duration {
	d := mapLook
	if len(k.expiring) > 0 {
		d = min(d, time.Until(time.Unix(0, k.expiring[0].at)))
	}
	if k.dirty && !k.busy() {
		d = min(d, k.took)
	}
	return max(d, 0)
}

// busy reports whether there is so much to be sent that a look at the map can wait.
func (k *keeper) busy() bool { return k.onWay+len(k.puts)+len(k.dels) >= mapWindow }

// look finds what has changed in the map. It leaves it at that while much is to be sent: what
// changes meanwhile is conflated. It takes at most half of the time.
func (k *keeper) look() error {
	k.expire()
	if !k.dirty || k.busy() || time.Since(k.at) < k.took {
		return nil
	}
	begun := time.Now()
	k.round++
	k.dirty = false
	k.versions = k.m.Versions(k.versions[:0])
	found, all := 0, uint64(0)
	for i, version := range k.versions {
		all += version
		if version == k.parts[i].version {
			continue
		}
		n, err := k.lookAt(i, version)
		if err != nil {
			return err
		}
		found += n
	}
	if n := int64(all-k.changes) - int64(found); k.looked && n > 0 {
		k.r.stats.conflated.Add(n)
	}
	k.changes, k.looked = all, true
	k.at = time.Now()
	k.took = k.at.Sub(begun)
	return nil
}

// lookAt finds what has changed in a part.
func (k *keeper) lookAt(i int, version uint64) (found int, err error) {
	p := &k.parts[i]
	var here []*kept
	err = k.m.Each(i, func(key, value []byte, expires int64) {
		name := keyName(k.t.key, key)
		x := k.keys[name]
		if x == nil {
			x = &kept{name: name}
			k.keys[name] = x
		}
		x.part, x.round = i, k.round
		here = append(here, x)
		sum := sumOf(value, expires)
		if sum == x.sum {
			return
		}
		found++
		x.sum = sum
		k.put(x, key, value, expires)
	})
	if err != nil {
		return found, err
	}
	for _, x := range p.keys {
		if x.round != k.round && x.part == i && x.sum != noSum {
			found++
			k.remove(x)
		}
	}
	p.version, p.keys = version, here
	return found, nil
}

// put makes a value due.
func (k *keeper) put(x *kept, key, value []byte, expires int64) {
	f := frame{
		kind: codes[kindMap], fingerprint: k.t.fingerprint, incarnation: k.inc,
		sequence: k.m.Version(x.part), lost: uint64(expires), writer: k.me, key: key,
	}
	x.expires = expires
	x.next = append(f.append(make([]byte, 0, frameLen+len(key)+len(value))), value...)
	if expires != 0 && !x.heaped {
		x.heaped = true
		heap.Push(&k.expiring, expiry{expires, x})
	}
	k.puts = k.makeDue(x, k.puts)
}

// remove makes the removal of a key due.
func (k *keeper) remove(x *kept) {
	x.sum, x.next, x.expires = noSum, nil, 0
	k.dels = k.makeDue(x, k.dels)
}

// makeDue appends a key to a list, unless it is in one or the end of its journey will do so.
func (k *keeper) makeDue(x *kept, list []*kept) []*kept {
	if !x.due && !x.onWay {
		list = append(list, x)
	}
	x.due = true
	return list
}

// expire removes what has expired: the map does not tell.
func (k *keeper) expire() {
	begun := time.Now()
	k.forgetGone(begun)
	now := begun.UnixNano()
	for len(k.expiring) > 0 && k.expiring[0].at <= now {
		x := heap.Pop(&k.expiring).(expiry).k
		x.heaped = false
		switch {
		case x.expires == 0:
		case x.expires > now:
			x.heaped = true
			heap.Push(&k.expiring, expiry{x.expires, x})
		case x.sum != noSum:
			k.remove(x)
		}
	}
}

// send puts what is due on its way, removals first: the mirror needs their room.
func (k *keeper) send(ctx context.Context) error {
	for _, list := range []*[]*kept{&k.dels, &k.puts} {
		for len(*list) > 0 && k.onWay < mapWindow {
			x := (*list)[0]
			*list = (*list)[1:]
			if err := k.sendOne(x); err != nil {
				return err
			}
		}
		if len(*list) == 0 {
			*list = nil
		}
	}
	k.r.stats.inFlight.Store(int64(k.onWay + len(k.puts) + len(k.dels)))
	return nil
}

// sendOne puts a key on its way.
func (k *keeper) sendOne(x *kept) error {
	m := &nats.Msg{Subject: k.bucket.prefix + x.name, Data: x.next, Header: nats.Header{}}
	o := []jetstream.PublishOpt{
		jetstream.WithExpectLastSequencePerSubject(x.revision),
		jetstream.WithRetryAttempts(0), jetstream.WithStallWait(look),
	}
	ttl := time.Duration(0)
	if x.next == nil {
		m.Header.Set(operationHeader, deleteOperation)
		ttl = markers
	} else if x.expires != 0 {
		ttl = max(time.Until(time.Unix(0, x.expires)), 0).Truncate(time.Second) + time.Second
	}
	if ttl > 0 && k.bucket.ttl {
		o = append(o, jetstream.WithMsgTTL(ttl))
	}
	f, err := k.js.PublishMsgAsync(m, o...)
	if err != nil {
		return err
	}
	x.due, x.onWay, x.next, x.echo = false, true, nil, 0
	k.onWay++
	k.r.stats.sent.Add(1)
	step.Reach(at.MapOutSent)
	k.way <- journey{k: x, future: f} // it has room for all that are on the way
	return nil
}

// ended notes what became of a put.
func (k *keeper) ended(ctx context.Context, j journey) error {
	step.Reach(at.MapOutEnded)
	x := j.k
	x.onWay = false
	k.onWay--
	switch {
	case j.err != nil && !wrongLast(j.err):
		return j.err
	case j.err != nil, x.echo > j.seq:
		if err := k.learn(ctx, x, x.echo); err != nil {
			return err
		}
	default:
		x.revision = j.seq
		k.r.stats.acked.Add(1)
	}
	switch {
	case x.due && x.next == nil:
		k.dels = append(k.dels, x)
	case x.due:
		k.puts = append(k.puts, x)
	case x.sum == noSum: // its revision is that of a marker
		k.gone = append(k.gone, goneKey{x, time.Now().Add(markers)})
	}
	return nil
}

// A goneKey is a key that was removed, and when its marker is gone too.
type goneKey struct {
	k  *kept
	at time.Time
}

// forget forgets a key that the bucket does not have.
func (k *keeper) forget(x *kept) {
	if x.sum == noSum && !x.due && !x.onWay && k.keys[x.name] == x {
		delete(k.keys, x.name)
	}
}

// forgetGone forgets keys whose markers are gone.
func (k *keeper) forgetGone(now time.Time) {
	for len(k.gone) > 0 && k.gone[0].at.Before(now) {
		k.forget(k.gone[0].k)
		k.gone = k.gone[1:]
	}
}

// heard looks at a message of the bucket: another one than this bridge may have put it.
func (k *keeper) heard(ctx context.Context, e echo) error {
	x := k.keys[e.name]
	switch {
	case e.name == headName:
		if e.revision == k.head.Load() {
			return nil
		}
		return errBegin // the claim tells whose the route is
	case x == nil && e.removed:
		return nil
	case x == nil:
		x = &kept{name: e.name, part: -1}
		k.keys[e.name] = x
	case x.onWay:
		x.echo = e.revision
		return nil
	case e.revision <= x.revision:
		return nil
	}
	err := k.learn(ctx, x, e.revision)
	k.forget(x)
	return err
}

// learn finds out what a key of the bucket has, which is not what this bridge has put last: the
// server may have removed what expired, or another program wrote it. A server that lags behind, and
// has not seen the revision least yet, is asked again.
func (k *keeper) learn(ctx context.Context, x *kept, least uint64) error {
	head, err := k.bucket.last(ctx, headName)
	switch {
	case err != nil:
		return err
	case head == nil || head.Sequence > k.head.Load():
		return errBegin // the claim tells whose the route is
	}
	m, err := k.bucket.last(ctx, x.name)
	for begun := time.Now(); err == nil && (m == nil || m.Sequence < least) &&
		time.Since(begun) < time.Second && ctx.Err() == nil; m, err = k.bucket.last(ctx, x.name) {
		sleep(ctx, 20*time.Millisecond)
	}
	if err != nil {
		return err
	}
	is := uint64(noSum)
	switch {
	case m == nil:
		x.revision = 0
	case removes(m.Header.Get):
		x.revision = m.Sequence
	default:
		x.revision, is = m.Sequence, otherSum
		f, value, err := k.t.entry(x.name, m.Data)
		if err == nil && f.writer == k.me {
			is = sumOf(value, int64(f.lost))
		} else {
			k.r.stats.otherWriter.Add(1)
		}
	}
	if x.due || x.sum == is {
		return nil
	}
	x.sum = is
	if is != noSum && x.part < 0 {
		k.remove(x)
		return nil
	}
	if x.part >= 0 { // the next look puts it right
		p := &k.parts[x.part]
		p.version, k.dirty = neverLooked, true
		p.keys = append(p.keys, x)
	}
	return nil
}

// expiring is a heap of the keys that expire, the next one first.
type expiring []expiry

type expiry struct {
	at int64
	k  *kept
}

func (e expiring) Len() int           { return len(e) }
func (e expiring) Less(i, j int) bool { return e[i].at < e[j].at }
func (e expiring) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push is that of a heap.Interface.
func (e *expiring) Push(x any) { *e = append(*e, x.(expiry)) }

// Pop is that of a heap.Interface.
func (e *expiring) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}
