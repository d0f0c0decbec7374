package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/segment"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/value"
)

// A box is an attachment to a box whose type is known at run time only.
type box struct {
	a *segment.Attachment
	t *format.Type
	v value.Value
}

// watchBox attaches to a box that goes out.
func watchBox(dir, name string) (*box, error) {
	a, err := segment.Open(segment.Request{
		Name: name, Attach: true, Config: segment.Config{Dir: dir, Passive: true, ReadOnly: true},
	})
	if err != nil {
		return nil, err
	}
	_, t, err := a.Schema()
	if err == nil && t == nil {
		err = fmt.Errorf("%w: the segment has no schema", ErrRefused)
	}
	if err == nil {
		err = checkBox(t)
	}
	if err != nil {
		_ = a.Detach(false)
		return nil, err
	}
	return &box{a, t, value.OfStored(a, t)}, nil
}

// mirrorBox opens the mirror of a box of that type.
func mirrorBox(dir, name string, t *format.Type) (*box, error) {
	a, err := segment.Open(segment.Request{
		Name: name, Create: true, Attach: true, Size: t.Size, Schema: t,
		Config: segment.Config{Dir: dir, DefaultLifetime: format.LifetimeKept, Append: true},
	})
	if err != nil {
		return nil, refusedType(err)
	}
	return &box{a, t, value.OfStored(a, t)}, nil
}

func (b *box) close() { _ = b.a.Detach(false) }

// use calls f with the mapping pinned. A fault is an error.
func (b *box) use(f func() error) (err error) {
	m := b.a.Mapping()
	if !m.Pin() {
		return shmem.ErrClosed
	}
	defer m.Unpin()
	if fault := m.Guard(func() { err = f() }); fault != nil {
		return b.a.Fault(fault)
	}
	return err
}

func (b *box) load(ctx context.Context, dst []byte) error {
	return b.use(func() error { return b.v.Load(ctx, dst) })
}

func (b *box) store(ctx context.Context, src []byte) error {
	return b.use(func() error { return b.v.Store(ctx, src) })
}

// wait waits until the version is not seen, for some time at most.
func (b *box) wait(ctx context.Context, seen uint64, most time.Duration) error {
	c, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err := b.use(func() error { return b.v.Wait(c, seen) })
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// A putter sends a box. It has one value in flight, so what changes meanwhile is conflated.
type putter struct {
	r        *route
	js       jetstream.JetStream
	kv       jetstream.KeyValue
	box      *box
	me, inc  uint64
	revision atomic.Uint64 // of the key, as this bridge knows it; the claim reads it too
	sent     uint64        // the version that was sent last
	has      bool          // there is one
	buf, val []byte
}

// boxOut sends a box.
func (b *Bridge) boxOut(ctx context.Context, r *route, kv jetstream.KeyValue) error {
	inc, err := incarnation(b.o.Dir, r.segment)
	if err != nil {
		return err
	}
	x, err := watchBox(b.o.Dir, r.segment)
	if err != nil {
		return err
	}
	defer x.close()
	p := &putter{r: r, js: b.js, kv: kv, box: x, me: rand.Uint64(), inc: inc,
		val: make([]byte, x.t.Size)}
	if err := same(b.o.Dir, r.segment, inc); err != nil {
		return err
	}
	if err := b.tooLarge(x.t.Size); err != nil {
		return err
	}
	return b.claimed(ctx, r, kv, sending{schema: x.t, run: p.run, proofs: []proof{p.there}})
}

// run sends the box until an error.
func (p *putter) run(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	x := p.box
	p.r.stats.set("running", nil)
	for {
		if closed(x.a.Unlinked()) {
			return errBegin
		}
		version := x.v.Version()
		if !p.has || version != p.sent {
			if err := p.put(ctx, version); err != nil {
				return err
			}
		}
		p.r.stats.moved()
		if err := x.wait(ctx, p.sent, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// begin finds out what is at the key.
func (p *putter) begin(ctx context.Context) error {
	e, err := p.kv.Get(ctx, p.r.key())
	switch {
	case err == nil:
		p.revision.Store(e.Revision())
	case errors.Is(err, jetstream.ErrKeyNotFound):
		if err := p.marker(ctx); err != nil {
			return err
		}
	default:
		return err
	}
	step.Reach(at.BoxOutBegun)
	return nil
}

// marker finds out whether the key was deleted: what comes next follows the marker of that.
func (p *putter) marker(ctx context.Context) error {
	s, err := p.js.Stream(ctx, "KV_"+p.kv.Bucket())
	if err != nil {
		return err
	}
	m, err := s.GetLastMsgForSubject(ctx, "$KV."+p.kv.Bucket()+"."+p.r.key())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err == nil {
		p.revision.Store(m.Sequence)
	}
	return err
}

// put sends the value, which has that version or a later one.
func (p *putter) put(ctx context.Context, version uint64) error {
	if err := p.box.load(ctx, p.val); err != nil {
		return err
	}
	step.Reach(at.BoxOutLoaded)
	f := frame{kind: codes[kindBox], fingerprint: p.box.t.Fingerprint(), incarnation: p.inc,
		sequence: version, writer: p.me}
	p.buf = append(f.append(p.buf[:0]), p.val...)
	p.r.stats.inFlight.Store(1)
	c, cancel := context.WithTimeout(ctx, apiFor)
	revision, err := p.kv.Update(c, p.r.key(), p.buf, p.revision.Load())
	cancel()
	if err != nil && wrongLast(err) {
		revision, err = p.mine(ctx, version, err)
	}
	if err != nil {
		return err
	}
	step.Reach(at.BoxOutPut)
	p.r.stats.inFlight.Store(0)
	if p.has && version > p.sent {
		p.r.stats.conflated.Add(int64(version - p.sent - 1))
	}
	p.revision.Store(revision)
	p.sent, p.has = version, true
	p.r.stats.sent.Add(1)
	p.r.stats.acked.Add(1)
	return nil
}

// there is the proof that the key has what was put last.
func (p *putter) there(ctx context.Context) (bool, error) {
	revision := p.revision.Load()
	if revision == 0 { // nothing was put yet
		return true, nil
	}
	e, err := p.kv.Get(ctx, p.r.key())
	if p.revision.Load() != revision { // a put finds out itself
		return true, nil
	}
	if err == nil && e.Revision() > revision && p.r.claim.missed > 0 {
		p.r.stats.otherWriter.Add(1)
	}
	return err == nil && e.Revision() == revision, err
}

// mine returns the revision of a value that was put by this bridge, although the acknowledgement
// said that another one was there.
func (p *putter) mine(ctx context.Context, version uint64, cause error) (uint64, error) {
	e, err := p.kv.Get(ctx, p.r.key())
	if err != nil {
		return 0, err
	}
	f, _, err := parseFrame(codes[kindBox], e.Value())
	if err == nil && f.writer == p.me && f.sequence == version {
		return e.Revision(), nil
	}
	return 0, cause
}

// wrongLastID is the code of the server's error that another message came before than the one with
// the expected id.
const wrongLastID = 10070

// wrongLast reports whether the server refused a message because another one came before.
func wrongLast(err error) bool {
	var a *jetstream.APIError
	if !errors.As(err, &a) {
		return errors.Is(err, jetstream.ErrKeyExists)
	}
	return a.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		a.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant ||
		a.ErrorCode == wrongLastID
}

// boxIn mirrors a key to a box.
func (b *Bridge) boxIn(ctx context.Context, r *route, kv jetstream.KeyValue) error {
	created, err := bucketCreated(ctx, kv)
	if err != nil {
		return err
	}
	// It is not a watch of nats.go, which begins anew by itself, late, and has one value at a time.
	cons, err := b.js.CreateConsumer(ctx, "KV_"+b.o.Prefix, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy,
		FilterSubject:     "$KV." + b.o.Prefix + "." + r.key(),
		InactiveThreshold: 30 * time.Second, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return err
	}
	p, err := newPull(b.nc, cons, pullBox)
	if err != nil {
		return err
	}
	defer p.close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	p.tick = tick.C
	m := &mirror{b: b, r: r, kv: kv, bucket: created}
	defer m.close()
	r.stats.set("running", nil)
	var all []arrival
	for {
		clear(all)
		if all, err = p.next(ctx, all[:0]); err != nil {
			return err
		}
		if err := m.takeLast(ctx, all); err != nil {
			return err
		}
		if err := m.check(ctx); err != nil {
			return err
		}
		r.stats.moved()
	}
}

// pullBox is how many values wait here. All but the last of those that have come are left out.
const pullBox = 64

// bucketCreated returns when the bucket was created. Revisions belong to one bucket.
func bucketCreated(ctx context.Context, kv jetstream.KeyValue) (uint64, error) {
	s, err := kv.Status(ctx)
	if err != nil {
		return 0, err
	}
	b, ok := s.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return 0, fmt.Errorf("%w: the bucket %s is no stream", ErrRefused, s.Bucket())
	}
	return uint64(b.StreamInfo().Created.UnixNano()), nil
}

// A mirror is a box that follows a key.
type mirror struct {
	b           *Bridge
	r           *route
	kv          jetstream.KeyValue
	bucket      uint64 // when it was created
	box         *box
	state       *state[boxWords]
	fingerprint uint64
	version     uint64 // of the mirror, after it was stored
	last        []byte
}

func (m *mirror) close() {
	if m.box != nil {
		m.box.close()
		m.state.close()
	}
}

// takeLast stores the last of some values. The mark of a key that was deleted is none.
func (m *mirror) takeLast(ctx context.Context, all []arrival) error {
	for len(all) > 0 && all[len(all)-1].msg.Header.Get("KV-Operation") != "" {
		all = all[:len(all)-1]
	}
	if len(all) == 0 {
		return nil
	}
	m.r.stats.conflated.Add(int64(len(all) - 1))
	last := &all[len(all)-1]
	return m.take(ctx, last.msg.Data, last.md.Sequence.Stream)
}

// take stores a value.
func (m *mirror) take(ctx context.Context, b []byte, revision uint64) error {
	f, body, err := parseFrame(codes[kindBox], b)
	if err != nil {
		return fmt.Errorf("%w: key %s: %w", ErrRefused, m.r.key(), err)
	}
	step.Reach(at.BoxInReceived)
	if m.box == nil || f.fingerprint != m.fingerprint {
		if err := m.open(ctx, f.fingerprint); err != nil {
			return err
		}
		step.Reach(at.BoxInOpened)
	}
	if len(body) != m.box.t.Size {
		return fmt.Errorf("%w: %d bytes, its type has %d", ErrRefused, len(body), m.box.t.Size)
	}
	if m.older(revision) {
		m.r.stats.duplicates.Add(1)
		return nil
	}
	m.last = append(m.last[:0], body...)
	if err := m.check(ctx); err != nil {
		return err
	}
	if err := m.put(ctx); err != nil {
		return err
	}
	step.Reach(at.BoxInStored)
	m.r.stats.sent.Add(1)
	return nil
}

// older reports whether a revision is older than one that the mirror has had: a server that lags
// behind has sent it. Else it notes that the revision is applied.
func (m *mirror) older(revision uint64) bool {
	w := m.state.words()
	if w.Bucket.Load() != m.bucket {
		w.Revision.Store(0)
		w.Bucket.Store(m.bucket)
	}
	if revision < w.Revision.Load() {
		return true
	}
	w.Revision.Store(revision)
	return false
}

// open opens the mirror for values of that type.
func (m *mirror) open(ctx context.Context, fingerprint uint64) error {
	t, err := getSchema(ctx, m.kv, fingerprint)
	if err == nil {
		err = checkBox(t)
	}
	if err != nil {
		return err
	}
	m.close()
	m.box = nil
	s, err := openState[boxWords](m.b.o.Dir, m.r)
	if err != nil {
		return err
	}
	x, err := mirrorBox(m.b.o.Dir, m.r.segment, t)
	if err != nil {
		s.close()
		return err
	}
	m.box, m.state, m.fingerprint, m.version = x, s, fingerprint, x.v.Version()
	return nil
}

func (m *mirror) put(ctx context.Context) error {
	if err := m.box.store(ctx, m.last); err != nil {
		return err
	}
	m.version = m.box.v.Version()
	return nil
}

// check puts the mirror right if another process has written it. One that was removed is made anew.
func (m *mirror) check(ctx context.Context) error {
	if m.box != nil && closed(m.box.a.Unlinked()) {
		return errBegin
	}
	if m.box == nil || m.box.v.Version() == m.version {
		return nil
	}
	m.r.stats.localWrites.Add(1)
	if len(m.last) == 0 {
		m.version = m.box.v.Version()
		return nil
	}
	return m.put(ctx)
}
