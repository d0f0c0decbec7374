package blob_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/blob"
	"github.com/shmembox/shmem/shmemtest"
)

// take takes a buffer and fills it.
func take(t testing.TB, p *blob.Pool, text string) *blob.Buffer {
	t.Helper()
	b, err := p.Take(background, len(text))
	check(t, err)
	_, err = b.WriteAt([]byte(text), 0)
	check(t, err)
	return b
}

func text(t testing.TB, b *blob.Buffer) string {
	t.Helper()
	all, err := b.Append(nil)
	check(t, err)
	return string(all)
}

// TestShare passes one buffer on to three others, of which each reads it.
func TestShare(t *testing.T) {
	dir := shmemtest.Dir(t)
	p, q := small(t, dir), small(t, dir)
	b := take(t, p, "hello")
	h := b.Handle()
	var others []*blob.Buffer
	for range 2 {
		c, err := q.Resolve(h)
		check(t, err)
		others = append(others, c)
	}
	check(t, b.Close())
	check(t, b.Close())
	c, err := q.Resolve(others[0].Handle())
	check(t, err)
	for _, c := range append(others, c) {
		if got := text(t, c); got != "hello" || c.Len() != 5 || c.Cap() != 128 {
			t.Errorf("%q, Len %d, Cap %d", got, c.Len(), c.Cap())
		}
		if used(p) != 1 {
			t.Errorf("%d used", used(p))
		}
		check(t, c.Close())
	}
	if used(p) != 0 {
		t.Errorf("%d used at the end", used(p))
	}
	for _, h := range []blob.Handle{h, {}} {
		if _, err := q.Resolve(h); !errors.Is(err, blob.ErrStale) {
			t.Errorf("a stale handle: %v", err)
		}
	}
	if _, err := b.Append(nil); !errors.Is(err, shmem.ErrClosed) {
		t.Errorf("a closed buffer: %v", err)
	}
}

// TestHandOver hands a buffer on from one to another; each handle works once.
func TestHandOver(t *testing.T) {
	dir := shmemtest.Dir(t)
	p, q := small(t, dir), small(t, dir)
	b := take(t, p, "hello")
	h, err := b.HandOver(0)
	check(t, err)
	check(t, b.Close())
	if _, err := b.HandOver(0); !errors.Is(err, shmem.ErrClosed) {
		t.Errorf("handed over twice: %v", err)
	}
	if s := p.Stats(); s.InFlight != 1 {
		t.Errorf("%+v", s)
	}
	c, err := q.Resolve(h)
	check(t, err)
	if _, err := p.Resolve(h); !errors.Is(err, blob.ErrStale) {
		t.Errorf("resolved twice: %v", err)
	}
	check(t, c.Update(func(all []byte) error { // it has the only share
		copy(all, "j")
		return nil
	}))
	d, err := q.Resolve(c.Handle())
	check(t, err)
	h, err = c.HandOver(time.Hour) // while the process has another share
	check(t, err)
	check(t, d.Close())
	b, err = p.Resolve(h)
	check(t, err)
	if got := text(t, b); got != "jello" {
		t.Errorf("%q", got)
	}
	check(t, b.Close())
	if used(p) != 0 {
		t.Errorf("%d used at the end", used(p))
	}
}

// TestLease: what was handed over and not resolved in time is free again, for one that waits.
func TestLease(t *testing.T) {
	p := open(t, shmemtest.Dir(t), blob.Options{Classes: []blob.Class{{Size: 64, Count: 1}}})
	h, err := take(t, p, "late").HandOver(30 * time.Millisecond)
	check(t, err)
	check(t, take(t, p, "next").Close())
	if _, err := p.Resolve(h); !errors.Is(err, blob.ErrStale) {
		t.Error(err)
	}
	if s := p.Stats(); s.Expired != 1 || s.InFlight != 0 || used(p) != 0 {
		t.Errorf("%+v", s)
	}
	for _, lease := range []time.Duration{-1, blob.MaxLease + 1} {
		b := take(t, p, "bad")
		if _, err := b.HandOver(lease); !errors.Is(err, shmem.ErrBadOption) {
			t.Error(err)
		}
		check(t, b.Close())
	}
}

// TestWhoMayWrite: only the holder of the only share.
func TestWhoMayWrite(t *testing.T) {
	p := small(t, shmemtest.Dir(t))
	b := take(t, p, "hello")
	c, err := p.Resolve(b.Handle())
	check(t, err)
	writes := func(b *blob.Buffer) (all []error) {
		_, err := b.WriteAt([]byte("j"), 0)
		all = append(all, err, b.SetLen(4))
		return append(all, b.Update(func([]byte) error { return nil }))
	}
	for _, err := range append(writes(b), writes(c)...) {
		if !errors.Is(err, blob.ErrShared) {
			t.Error(err)
		}
	}
	check(t, c.Close())
	for _, err := range writes(b) {
		check(t, err)
	}
	if got := text(t, b); got != "jell" {
		t.Errorf("%q", got)
	}
	for _, n := range []int{-1, 129} {
		if err := b.SetLen(n); !errors.Is(err, blob.ErrTooLarge) {
			t.Errorf("SetLen(%d): %v", n, err)
		}
	}
	check(t, b.SetLen(128))
	for _, at := range []int64{-1, 127, 129, 1 << 62} {
		if n, err := b.WriteAt([]byte("ab"), at); err == nil || n != 0 {
			t.Errorf("at %d: %d, %v", at, n, err)
		}
	}
	check(t, b.Close())
}

// TestReaders reads parts, all, and by a copy of the handle.
func TestReaders(t *testing.T) {
	dir := shmemtest.Dir(t)
	p := small(t, dir)
	long := strings.Repeat("0123456789", 500)
	b := take(t, p, long)
	all, err := io.ReadAll(io.NewSectionReader(b, 0, int64(b.Len())))
	check(t, err)
	var w bytes.Buffer
	n, err := b.WriteTo(&w)
	check(t, err)
	only, err := blob.Attach("p", &blob.Options{Dir: dir, ReadOnly: true})
	check(t, err)
	defer only.Close()
	appended, err := only.Append([]byte("x"), b.Handle())
	check(t, err)
	if string(all) != long || w.String() != long || n != 5000 || string(appended) != "x"+long {
		t.Error("other bytes")
	}
	some := make([]byte, 20)
	if n, err := b.ReadAt(some, 4990); n != 10 || err != io.EOF || string(some[:n]) != "0123456789" {
		t.Errorf("%q, %v", some[:n], err)
	}
	for _, at := range []int64{-1, 5000, 1 << 62} {
		if n, err := b.ReadAt(some, at); n != 0 || err == nil {
			t.Errorf("at %d: %d, %v", at, n, err)
		}
	}
	h := b.Handle()
	check(t, b.Close())
	if _, err := only.Append(nil, h); !errors.Is(err, blob.ErrStale) {
		t.Error(err)
	}
	_, take := only.TryTake(1)
	_, resolve := only.Resolve(h)
	_, sweep := only.Sweep()
	for _, err := range []error{take, resolve, sweep} {
		if !errors.Is(err, shmem.ErrReadOnly) {
			t.Error(err)
		}
	}
}

// TestFull: a call that waits goes on when a buffer is free, also a larger one.
func TestFull(t *testing.T) {
	p := small(t, shmemtest.Dir(t))
	var all []*blob.Buffer
	for range 3 {
		b, err := p.TryTake(100)
		check(t, err)
		all = append(all, b)
	}
	if _, err := p.TryTake(100); !errors.Is(err, blob.ErrFull) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(background, time.Millisecond)
	defer cancel()
	if _, err := p.Take(ctx, 100); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	got := make(chan error)
	go func() {
		b, err := p.Take(background, 100)
		if err == nil {
			err = b.Close()
		}
		got <- err
	}()
	time.Sleep(time.Millisecond)
	check(t, all[2].Close())
	check(t, <-got)
	for _, n := range []int{-1, 8<<10 + 1} {
		if _, err := p.TryTake(n); !errors.Is(err, blob.ErrTooLarge) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if p.MaxLen() != 8<<10 {
		t.Error(p.MaxLen())
	}
	s := p.Stats()
	if want := (blob.ClassStats{Size: 128, Count: 2, Used: 2, Taken: 2}); s.Classes[0] != want {
		t.Errorf("%+v", s)
	}
}

// TestShares: a buffer has as many shares as the pool was created with.
func TestShares(t *testing.T) {
	dir := shmemtest.Dir(t)
	p := small(t, dir)
	b := take(t, p, "x")
	for range 2 {
		_, err := small(t, dir).Resolve(b.Handle())
		check(t, err)
	}
	if _, err := small(t, dir).Resolve(b.Handle()); !errors.Is(err, blob.ErrNoShare) {
		t.Error(err)
	}
	c, err := p.Resolve(b.Handle()) // counted in the share that is there
	check(t, err)
	if _, err := c.HandOver(0); !errors.Is(err, blob.ErrNoShare) {
		t.Error(err)
	}
	if got := text(t, c); got != "x" {
		t.Errorf("%q", got)
	}
}

// TestCloseInUse: the share ends when the last call that uses the bytes returns.
func TestCloseInUse(t *testing.T) {
	dir := shmemtest.Dir(t)
	p := small(t, dir)
	b := take(t, p, "hello")
	check(t, b.View(func(all []byte) error {
		if _, err := b.HandOver(0); !errors.Is(err, blob.ErrShared) {
			t.Errorf("handed over in use: %v", err)
		}
		check(t, b.Close())
		if err := b.View(nil); !errors.Is(err, shmem.ErrClosed) {
			t.Errorf("a closed buffer: %v", err)
		}
		if string(all) != "hello" || used(p) != 1 {
			t.Errorf("%q, %d used", all, used(p))
		}
		return nil
	}))
	if used(p) != 0 {
		t.Errorf("%d used", used(p))
	}
	errMine := errors.New("mine")
	b = take(t, p, "x")
	if err := b.View(func([]byte) error { return errMine }); err != errMine {
		t.Error(err)
	}
	other := small(t, dir)
	check(t, p.Close())
	check(t, b.Close())
	if _, err := b.Append(nil); !errors.Is(err, shmem.ErrClosed) {
		t.Error(err)
	}
	if n, err := other.Sweep(); n != 1 || err != nil {
		t.Errorf("what the closed pool had: %d, %v", n, err)
	}
}

// TestLend: the share lasts until the bytes are no longer lent, and Pool.Close waits for that.
func TestLend(t *testing.T) {
	dir := shmemtest.Dir(t)
	p, q := small(t, dir), small(t, dir)
	b := take(t, p, "hello")
	all, done, err := b.Lend()
	check(t, err)
	if _, err := b.HandOver(0); !errors.Is(err, blob.ErrShared) {
		t.Errorf("handed over while it is lent: %v", err)
	}
	check(t, b.Close())
	if _, _, err := b.Lend(); !errors.Is(err, shmem.ErrClosed) {
		t.Errorf("a closed buffer: %v", err)
	}
	closed := make(chan error)
	go func() { closed <- p.Close() }()
	for p.Stats().Classes != nil { // until Close has begun
		time.Sleep(10 * time.Microsecond)
	}
	if string(all) != "hello" || len(all) != cap(all) || used(q) != 1 {
		t.Errorf("%q, %d used", all, used(q))
	}
	done()
	done()
	check(t, <-closed)
	_, err = q.Sweep()
	check(t, err)
	if used(q) != 0 {
		t.Errorf("%d used", used(q))
	}
}

// TestHandleTravels sends handles in all forms.
func TestHandleTravels(t *testing.T) {
	dir := shmemtest.Dir(t)
	p := small(t, dir)
	b := take(t, p, "hello")
	defer b.Close()
	h := b.Handle()
	bin, err := h.MarshalBinary()
	check(t, err)
	var all [4]blob.Handle
	check(t, all[0].UnmarshalBinary(bin))
	var w bytes.Buffer
	check(t, gob.NewEncoder(&w).Encode(h))
	check(t, gob.NewDecoder(&w).Decode(&all[1]))
	js, err := json.Marshal(h)
	check(t, err)
	check(t, json.Unmarshal(js, &all[2]))
	box, err := shmem.Open[struct{ H blob.Handle }]("box", &shmem.Options{Dir: dir})
	check(t, err)
	defer box.Close()
	box.Value().H = h
	all[3] = box.Value().H
	for i, got := range all {
		if got != h || got.Len() != 5 || got.IsZero() || got.Pool() != p.ID() {
			t.Errorf("%d: %v", i, got)
		}
	}
	if len(bin) != blob.HandleSize || len(h.String()) != 43 {
		t.Errorf("%d bytes, %q", len(bin), h)
	}
	for _, bad := range []error{
		h.UnmarshalBinary(bin[1:]), h.UnmarshalText([]byte("x!")), h.UnmarshalText([]byte("abcd")),
	} {
		if bad == nil {
			t.Error("no error")
		}
	}
}

// TestForged: whatever a handle says, it is an error or the bytes that it stands for.
func TestForged(t *testing.T) {
	dir := shmemtest.Dir(t)
	p := small(t, dir)
	other := open(t, shmemtest.Dir(t), blob.Options{})
	b := take(t, p, "hello")
	defer b.Close()
	secret := take(t, p, "secret")
	defer secret.Close()
	check(t, take(t, p, strings.Repeat("old", 1000)).Close())
	if _, err := other.Resolve(b.Handle()); !errors.Is(err, blob.ErrOtherPool) {
		t.Error(err)
	}
	for _, flies := range []bool{false, true} {
		h := b.Handle()
		if flies {
			var err error
			h, err = take(t, p, "flown").HandOver(0)
			check(t, err)
		}
		bin, err := h.MarshalBinary()
		check(t, err)
		for i := range bin {
			for bit := range 8 {
				forged := bytes.Clone(bin)
				forged[i] ^= 1 << bit
				var f blob.Handle
				check(t, f.UnmarshalBinary(forged))
				forgery(t, p, f)
			}
		}
		if flies { // a forgery with another length has resolved it
			if _, err := p.Resolve(h); !errors.Is(err, blob.ErrStale) {
				t.Error(err)
			}
		}
	}
	if n := used(p); n != 2 {
		t.Errorf("%d used", n)
	}
}

func forgery(t *testing.T, p *blob.Pool, f blob.Handle) {
	t.Helper()
	copied, err := p.Append(nil, f)
	if err == nil && !strings.HasPrefix("hello", string(copied)) && //nolint:gocritic // in this order
		!strings.HasPrefix("secret", string(copied)) && !strings.HasPrefix("flown", string(copied)) {
		t.Errorf("copied %q", copied)
	}
	b, err := p.Resolve(f)
	if err != nil {
		if !errors.Is(err, blob.ErrStale) && !errors.Is(err, blob.ErrOtherPool) {
			t.Error(err)
		}
		return
	}
	if got := text(t, b); !strings.HasPrefix("hello", got) && !strings.HasPrefix("secret", got) &&
		!strings.HasPrefix("flown", got) {
		t.Errorf("%q", got)
	}
	check(t, b.Close())
}

// TestOpen opens pools with options that fit and that do not.
func TestOpen(t *testing.T) {
	dir := shmemtest.Dir(t)
	p := small(t, dir)
	q, err := blob.Create("p", &blob.Options{Dir: dir})
	if !errors.Is(err, fs.ErrExist) {
		t.Error(q, err)
	}
	if _, err := shmem.Attach[int]("p", &shmem.Options{Dir: dir}); !errors.Is(err, shmem.ErrMismatch) {
		t.Error(err)
	}
	for _, o := range []blob.Options{{Shares: 4}, {Size: 8 << 20}, {Classes: []blob.Class{{Size: 128, Count: 1}}}} {
		o.Dir = dir
		if _, err := blob.Attach("p", &o); !errors.Is(err, shmem.ErrMismatch) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, o := range []blob.Options{
		{Shares: -1}, {Shares: 65}, {Size: -1}, {Classes: []blob.Class{{Size: 0, Count: 1}}},
		{Classes: []blob.Class{{Size: 128, Count: -1}}}, {Classes: []blob.Class{{Size: 128, Count: 1}, {Size: 128, Count: 1}}},
		{Classes: []blob.Class{{Size: 128, Count: 1 << 17}}}, {Classes: make([]blob.Class, 17)},
		{Size: 100, Classes: []blob.Class{{Size: 128, Count: 1}}},
	} {
		o.Dir = dir
		if _, err := blob.Open("q", &o); !errors.Is(err, shmem.ErrBadOption) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	d, err := blob.AttachWait(background, "p", &blob.Options{Dir: dir})
	check(t, err)
	if !d.Linked() || d.Owned() || d.Name() != "p" {
		t.Error(d.Linked(), d.Owned(), d.Name())
	}
	check(t, p.Own())
	check(t, d.Close())
	check(t, p.Leak())
	check(t, shmem.Remove(dir, "p"))
	def, err := blob.Open("default", &blob.Options{Dir: dir})
	check(t, err)
	defer def.Close()
	total := 0
	for _, c := range def.Stats().Classes {
		total += c.Size * c.Count
	}
	tiny := open(t, shmemtest.Dir(t), blob.Options{Size: 100 << 10})
	if s := tiny.Stats(); len(s.Classes) != 2 {
		t.Errorf("%+v", s)
	}
	if total < 20<<20 || total > 32<<20 || def.MaxLen() != 4097<<10 {
		t.Errorf("%+v", def.Stats())
	}
}
