package blobgrpc

import (
	"context"
	"errors"
	"reflect"
	"sync"

	"github.com/shmembox/shmem/blob"
)

// A lender knows which bytes of a pool messages of this process use in place. All Transports
// through a pool have one.
type lender struct {
	pool *blob.Pool
	uses int // by Transports; guarded by pools

	mu        sync.Mutex
	lent      []*lent // guarded by mu
	low, high uintptr // all addresses that were lent are between these; guarded by mu
}

// lent is a buffer whose bytes are lent.
type lent struct {
	l    *lender
	b    *blob.Buffer
	all  []byte
	from uintptr
	done func()
}

func addressOf(b []byte) uintptr { return reflect.ValueOf(b).Pointer() }

// lend lends the bytes of a buffer, until end.
func (l *lender) lend(b *blob.Buffer) (*lent, error) {
	all, done, err := b.Lend()
	if err != nil {
		return nil, err
	}
	is := &lent{l, b, all, addressOf(all), done}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.high == 0 {
		l.low = is.from
	}
	l.low, l.high = min(l.low, is.from), max(l.high, is.from+uintptr(len(all)))
	l.lent = append(l.lent, is)
	return is, nil
}

// end ends a loan.
func (l *lender) end(is *lent) {
	l.mu.Lock()
	for i := range l.lent {
		if l.lent[i] == is {
			last := len(l.lent) - 1
			l.lent[i], l.lent[last] = l.lent[last], nil
			l.lent = l.lent[:last]
			break
		}
	}
	l.mu.Unlock()
	is.done()
	_ = is.b.Close()
}

var errReleased = errors.New("blobgrpc: the message has bytes of a buffer that was released; " +
	"copy what is to be kept")

// share returns a share of the buffer that value is a part of, and where it begins there. It
// returns nil if value is no memory of the pool.
func (l *lender) share(value []byte) (b *blob.Buffer, off int, err error) {
	at, n := addressOf(value), uintptr(len(value))
	l.mu.Lock()
	defer l.mu.Unlock()
	if at < l.low || at >= l.high {
		return nil, 0, nil
	}
	for _, is := range l.lent {
		if off := at - is.from; off <= uintptr(len(is.all)) && n <= uintptr(len(is.all))-off {
			b, err := l.pool.Resolve(is.b.Handle())
			return b, int(off), err
		}
	}
	return nil, 0, errReleased
}

// A loan is what is lent until a call is over.
type loan struct {
	mu   sync.Mutex
	list []*lent // guarded by mu
	subs []*loan // which end with this one; guarded by mu
	over bool    // guarded by mu
}

// addAll makes others end with this loan. It reports false if the loan is over.
func (o *loan) addAll(list []*lent) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over {
		o.list = append(o.list, list...)
	}
	return !o.over
}

// renew ends what was added, and adds others. It reports false if the loan is over.
func (o *loan) renew(list []*lent) bool {
	o.mu.Lock()
	old, over := o.list, o.over
	o.list = nil
	if !over {
		o.list = list
	}
	o.mu.Unlock()
	endAll(old)
	return !over
}

// sub returns a loan that ends with this one.
func (o *loan) sub() *loan {
	o.mu.Lock()
	defer o.mu.Unlock()
	is := &loan{over: o.over}
	if !o.over {
		o.subs = append(o.subs, is)
	}
	return is
}

// release ends the loan. What comes later is not lent.
func (o *loan) release() {
	o.mu.Lock()
	old, subs := o.list, o.subs
	o.list, o.subs, o.over = nil, nil, true
	o.mu.Unlock()
	endAll(old)
	for _, is := range subs {
		is.release()
	}
}

func endAll(list []*lent) {
	for _, is := range list {
		is.l.end(is)
	}
}

// loans is what a context has.
type loans struct {
	t      *Transport
	taken  loan // by Bytes
	inbox  loan // messages of the call, or of the calls of a client that are not streams
	served bool // by a server, which ends it
	stream bool // the call is one
}

type loansKey struct{}

func loansOf(ctx context.Context) *loans {
	l, _ := ctx.Value(loansKey{}).(*loans)
	return l
}

func (l *loans) release() {
	l.taken.release()
	l.inbox.release()
}

// Lend returns a context for calls of a client whose replies are used in place: their large fields
// of bytes are memory of the pool, until release is called. [Bytes] of that context are such memory
// for requests. Call release when the calls are over, and no reply and no request is used any more.
//
// A message of a stream is lent until the next RecvMsg of the stream. For each message that is sent
// on a stream, call Lend anew.
//
// In the handler of a unary call that a server with Options.InPlace serves, and with the context of
// that call, the loan lasts until the reply was sent, and release does nothing. So a handler can
// return what another server has replied.
func (t *Transport) Lend(ctx context.Context) (lent context.Context, release func()) {
	if l := loansOf(ctx); l != nil && l.served && !l.stream && l.t == t {
		return context.WithValue(ctx, replyKey{}, l), func() {}
	}
	l := &loans{t: t}
	ctx = context.WithValue(ctx, loansKey{}, l)
	return context.WithValue(ctx, replyKey{}, l), l.release
}

// replyKey leads to the loans that replies are added to.
type replyKey struct{}

func repliesOf(ctx context.Context) *loans {
	l, _ := ctx.Value(replyKey{}).(*loans)
	return l
}

// Bytes returns n bytes for a field of a message. If ctx comes from [Transport.Lend], or is that of
// a call which a server with Options.InPlace serves, they are memory of the pool, which is sent
// without being copied. Otherwise they are usual memory, as they are where n is less than
// Options.Threshold or no buffer is free. Memory of the pool has any values before it is written.
// It can be used until the loan or the call is over; do not change it after it was sent.
func Bytes(ctx context.Context, n int) []byte {
	l := loansOf(ctx)
	if l == nil || n < l.t.threshold {
		return make([]byte, n)
	}
	b, err := l.t.pool.TryTake(n)
	if err != nil {
		return make([]byte, n)
	}
	is, err := l.t.lender.lend(b)
	if err != nil {
		_ = b.Close()
		return make([]byte, n)
	}
	if !l.taken.addAll([]*lent{is}) {
		l.t.lender.end(is)
		return make([]byte, n)
	}
	return is.all
}
