package shmem_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// foreignBytes makes a file of another program, and returns options that attach to it.
func foreignBytes(t *testing.T, b []byte) (name string, o *shmem.Options) {
	t.Helper()
	dir := shmemtest.Dir(t)
	path := filepath.Join(dir, "theirs")
	check(t, os.WriteFile(path, b, 0o600))
	t.Cleanup(func() { _ = os.Remove(path) })
	return "theirs", &shmem.Options{Dir: dir, Foreign: true}
}

// A packed struct of another program: a byte, a number of 8 bytes, a number of 2 bytes.
var packed = []byte{7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}

type (
	natural struct { // as one would write it in Go: N is at 8
		Tag uint8
		N   uint64
		M   uint16
	}
	declared struct { // what the other program has if it does not pack
		Tag uint8
		_   [7]byte
		N   uint64
		M   uint16
	}
	byteWise struct { // what it has if it packs
		Tag uint8
		N   [8]byte
		M   [2]byte
	}
	inArray struct {
		Head [2]struct {
			N uint32
			S uint8
		}
	}
	inArrayDeclared struct {
		Head [2]struct {
			N uint32
			S uint8
			_ [3]byte
		}
	}
	nestedEnd struct {
		In struct {
			N uint32
			S uint16
		}
		T uint16
	}
	vec    struct{ L shmem.Vec[uint64, [2]uint64] }
	whole  struct{ L shmem.Vec[uint32, [2]uint32] }
	atoms  struct{ A, B atomic.Uint32 }
	marker struct {
		A uint8
		_ struct{}
		B uint8
	}
)

// TestForeignPacked: a type with padding between its fields that is not declared is refused in a
// foreign segment, and the error says which field. A packed struct can be read as bytes.
func TestForeignPacked(t *testing.T) {
	name, o := foreignBytes(t, append(packed, make([]byte, 100)...))
	refused := func(err error, words ...string) {
		t.Helper()
		wantErr(t, err, shmem.ErrBadType, append(words, "padding", "packed", "encoding/binary")...)
		var te *shmem.TypeError
		if !errors.As(err, &te) {
			t.Errorf("%v is no TypeError", err)
		}
	}
	_, err := shmem.Attach[natural](name, o)
	refused(err, "attach theirs", "natural.N", "bytes of padding", "before it")
	_, err = shmem.Open[inArray](name, o)
	refused(err, "inArray.Head[]", "3 bytes", "at its end")
	_, err = shmem.Attach[nestedEnd](name, o)
	refused(err, "nestedEnd.In", "at its end")
	_, err = shmem.Attach[vec](name, o)
	refused(err, "vec.L")
	s, err := shmem.AttachSegment(name, o)
	s = segment(t, s, err)
	_, err = shmem.BoxOf[natural](s)
	refused(err, "box of theirs", "natural.N")
	_, err = shmem.ValueAt[natural](s, 0)
	refused(err, "natural.N")
	_, err = shmem.SliceAt[declared](s, 0, 2) // in a row what is at the end counts
	refused(err, "declared", "at its end")
	if _, err := shmem.SliceAt[declared](s, 0, 1); err != nil {
		t.Error(err)
	}
	for _, open := range []func() (interface{ Close() error }, error){
		func() (interface{ Close() error }, error) { return shmem.Attach[declared](name, o) },
		func() (interface{ Close() error }, error) { return shmem.Attach[inArrayDeclared](name, o) },
		func() (interface{ Close() error }, error) { return shmem.Attach[whole](name, o) },
		func() (interface{ Close() error }, error) { return shmem.Attach[atoms](name, o) },
		func() (interface{ Close() error }, error) { return shmem.Attach[marker](name, o) },
		func() (interface{ Close() error }, error) { return shmem.Attach[[3]uint64](name, o) },
	} {
		b, err := open()
		if err != nil {
			t.Error(err)
			continue
		}
		check(t, b.Close())
	}
	b, err := shmem.Attach[byteWise](name, o)
	b = opened(t, b, err)
	if v := b.Value(); v.Tag != 7 || binary.LittleEndian.Uint64(v.N[:]) != 0x0807060504030201 ||
		binary.LittleEndian.Uint16(v.M[:]) != 0x0a09 {
		t.Errorf("the packed struct is read as %+v", *v)
	}
	// Our own segments know their layout, and so do copies of them.
	dir := shmemtest.Dir(t)
	own, err := shmem.Create[natural]("own", &shmem.Options{Dir: dir})
	own = opened(t, own, err)
	own.Value().N = 5
	file, err := os.ReadFile(filepath.Join(dir, "own"))
	check(t, err)
	name, o = foreignBytes(t, file)
	o.ReadOnly = true
	c, err := shmem.Attach[natural](name, o)
	if c = opened(t, c, err); c.Value().N != 5 {
		t.Errorf("the copy is read as %+v", *c.Value())
	}
}

// screen has a version word.
type screen struct {
	Magic   [4]byte
	Version uint32
	Width   uint32
}

var errTooNew = errors.New("screen of version 4, this program knows 3")

func (s *screen) Check() error {
	switch {
	case string(s.Magic[:]) != "SCRN":
		return errors.New("no screen")
	case s.Version == 9:
		panic("of Check")
	case s.Version != 3:
		return errTooNew
	}
	return nil
}

type (
	otherCheck struct{ N uint32 }
	valueCheck struct{ N uint32 }
	twoScreens struct {
		screenA
		screenB
	}
	screenA     struct{ N uint32 }
	screenB     struct{ M uint32 }
	checkWrites struct{ N uint32 }
)

func (otherCheck) Check(int) bool   { return true }
func (v valueCheck) Check() error   { return errors.New("by value") }
func (*screenA) Check() error       { return nil }
func (*screenB) Check() error       { return nil }
func (c *checkWrites) Check() error { c.N++; return nil }

// TestChecker: a value's Check decides whether a foreign segment can be attached to, before the
// caller gets the box.
func TestChecker(t *testing.T) {
	file := func(magic string, version uint32) []byte {
		b := append([]byte(magic), make([]byte, 8)...)
		binary.NativeEndian.PutUint32(b[4:], version)
		return b
	}
	name, o := foreignBytes(t, file("SCRN", 3))
	b, err := shmem.Attach[screen](name, o)
	b = opened(t, b, err)
	check(t, b.Value().Check())

	name, o = foreignBytes(t, file("SCRN", 4))
	_, err = shmem.Attach[screen](name, o)
	wantErr(t, err, shmem.ErrMismatch, "attach theirs", errTooNew.Error())
	if !errors.Is(err, errTooNew) {
		t.Errorf("%v: the error of Check is lost", err)
	}
	s, err := shmem.AttachSegment(name, o)
	s = segment(t, s, err)
	for range 2 {
		_, err = shmem.BoxOf[screen](s)
		wantErr(t, err, shmem.ErrMismatch, "box of theirs", errTooNew.Error())
	}
	raw, err := shmem.BoxOf[[12]byte](s) // the segment is as it was
	if err != nil || raw.Value()[4] != 4 {
		t.Errorf("after a Check that failed: %v", err)
	}
	name, o = foreignBytes(t, file("none", 3))
	_, err = shmem.Open[screen](name, o)
	wantErr(t, err, shmem.ErrMismatch, "no screen")

	name, o = foreignBytes(t, file("SCRN", 9))
	func() {
		defer func() {
			if r := recover(); r != "of Check" {
				t.Errorf("a panic of Check: %v", r)
			}
		}()
		_, _ = shmem.Attach[screen](name, o)
	}()
	// Methods that are not called, in a foreign segment only.
	_, err = shmem.Attach[otherCheck](name, o)
	wantErr(t, err, shmem.ErrBadType, "Check", "another signature")
	_, err = shmem.Attach[twoScreens](name, o)
	wantErr(t, err, shmem.ErrBadType, "Check", "ambiguous")
	_, err = shmem.Attach[valueCheck](name, o)
	wantErr(t, err, shmem.ErrMismatch, "by value")
	dir := shmemtest.Dir(t)
	own, err := shmem.Create[otherCheck]("own", &shmem.Options{Dir: dir})
	_ = opened(t, own, err)
	mine, err := shmem.Create[screen]("mine", &shmem.Options{Dir: dir}) // it is compared by its type
	_ = opened(t, mine, err)
	o.ReadOnly = true
	_, err = shmem.Attach[checkWrites](name, o)
	wantErr(t, err, shmem.ErrFault, "read-only")
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil || strings.Contains(string(maps), filepath.Join(o.Dir, name)) {
		t.Errorf("an attach that failed left a mapping (%v)", err)
	}
}
