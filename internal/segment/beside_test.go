package segment

import (
	"path/filepath"
	"testing"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/internal/sys"
)

// TestTornSchema reads the schema record while another attachment writes it: the record is new,
// the schema behind it is not there yet. Under the gate it is whole.
func TestTornSchema(t *testing.T) {
	number := &format.Type{Kind: format.Uint64, Size: 8, Align: 8}
	d := dir(t)
	a := open(t, d, func(r *Request) { r.Size = 64 }) // raw bytes
	off := int64(a.head.HeaderOff()) + format.OffRecord
	area := func() []byte {
		b := make([]byte, format.HeaderSize-format.OffRecord)
		if _, err := a.file.ReadAt(b, off); err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(b []byte) {
		if err := a.file.WriteAt(b, off); err != nil {
			t.Error(err)
		}
	}
	old := area()
	rec, _, err := a.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var whole []byte
	step.Hook(func(p step.Point) {
		switch {
		case p == step.AttachRelease && whole == nil: // the type is to be compared without the gate
			if err := a.enter(a.deadline()); err != nil {
				t.Error(err)
			}
			if err := a.storeSchema(number, rec); err != nil {
				t.Error(err)
			}
			whole = area()
			write(append(append([]byte{}, whole[:format.RecordSize]...), old[format.RecordSize:]...))
		case p == step.AttachCompare:
			write(whole)
			a.leave()
		}
	})
	defer step.Hook(nil)
	b, err := tryOpen(d, func(r *Request) { r.Create, r.Size, r.Schema = false, 0, number })
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Detach(false)
}

// TestReaderBesideLeak attaches for reading, without the gate, while the owner leaks the segment: it
// is there all the time.
func TestReaderBesideLeak(t *testing.T) {
	d := dir(t)
	path := filepath.Join(d, "s")
	for range 300 {
		a, err := tryOpen(d)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- a.Detach(true) }()
		for leaking := true; leaking; {
			select {
			case err := <-done:
				leaking = false
				if err != nil {
					t.Fatal(err)
				}
			default:
			}
			if !joinsReading(t, d, path) {
				t.Fatal("a segment that is there all the time was not found")
			}
		}
		if err := sys.Unlink(path); err != nil {
			t.Fatal(err)
		}
	}
}

// joinsReading does steps 1 to 6 with a file that can only be read.
func joinsReading(t *testing.T, d, path string) bool {
	o, err := newOpening(Request{Name: "s", Attach: true, Config: Config{Dir: d, ReadOnly: true}})
	if err != nil {
		t.Fatal(err)
	}
	o.path = path
	file, err := sys.Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for {
		a := &Attachment{control: control{file: file}, name: o.Name, path: path, cfg: o.cfg}
		if a.stat, err = file.Stat(); err != nil {
			t.Fatal(err)
		}
		end := new(tail)
		if err := o.compare(a, end); err != nil {
			t.Fatal(err)
		}
		if err := o.mapFound(a, end, false); err != nil {
			t.Fatal(err)
		}
		joined, err := o.joinReading(a, end)
		a.unmap()
		if err == errStale {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return joined
	}
}
