package inspect

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/compose"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/internal/mem"
)

// An Assignment says what a part of a value is to become. The value is text: a number, true or
// false, a text as it is or in quotes, bytes as text or as 0x and hex digits, a duration as 1.5s for
// a time.Duration; JSON for structs, arrays and lists, where fields that are not named stay as they are.
type Assignment struct{ Path, Value string }

// Set changes parts of a segment's value, all of them or, after an error, none: in one Update, under
// the box's lock, for which it waits until ctx is done. It attaches like any other process, but leaves
// the duty of the last one to others. What does not fit the schema is refused before anything is
// locked. Fields of sync/atomic types are each stored at once; locks cannot be set.
func Set(ctx context.Context, name string, opts *shmem.Options, all ...Assignment) error {
	if err := set(ctx, name, opts, all); err != nil {
		var e *shmem.Error
		if errors.As(err, &e) {
			return err
		}
		return &shmem.Error{Op: "set", Name: name, Err: err}
	}
	return nil
}

func set(ctx context.Context, name string, opts *shmem.Options, all []Assignment) error {
	dir := ""
	if opts != nil {
		dir = opts.Dir
	}
	s, err := open(dir, name)
	if err != nil {
		return err
	}
	defer s.Close()
	switch info := s.Info(); {
	case info.State == shmem.Foreign:
		return fmt.Errorf("%w: without a schema there is nothing to check the value against", shmem.ErrForeign)
	case info.State == shmem.Damaged:
		return info.Err
	case info.State == shmem.Garbage:
		return fmt.Errorf("%w: it is garbage: its owner has died, and the next Open starts afresh; it can be read but not set", fs.ErrNotExist)
	case layout.Stream(s.t) != "":
		return fmt.Errorf("a %s cannot be set: who sends and receives changes it without the box's lock", layout.Stream(s.t))
	case s.t == nil:
		return fmt.Errorf("%w: the segment holds raw bytes, without a schema", shmem.ErrMismatch)
	}
	// A look first: what cannot be must disturb nobody.
	snap, err := s.Snapshot()
	if err != nil {
		return err
	}
	if err := assign(snap.Value(), all); err != nil {
		return err
	}
	t := s.t
	seg, _, _, err := compose.Open(compose.Plan{
		Op: "set", Name: name, Attach: true, Visitor: true,
		Type: func(int, *format.Type) (*format.Type, error) { return t, nil },
	}, opts)
	if err != nil {
		return err
	}
	err = compose.Update(ctx, seg, t, func(m *mem.Mapping) error {
		old := make([]byte, t.Size)
		m.Load(old, 0)
		b := bytes.Clone(old)
		if err := assign(Value{t, b, 0, nil}, all); err != nil {
			return err
		}
		return store(m, Value{t, old, 0, nil}, b)
	})
	return errors.Join(err, seg.(*shmem.Segment).Close())
}

// assign changes the bytes of v.
func assign(v Value, all []Assignment) error {
	for _, a := range all {
		f, err := v.At(a.Path)
		if err != nil {
			return err
		}
		if err := f.parse(a.Value); err != nil {
			return fmt.Errorf("%s=%s: %w", a.Path, a.Value, err)
		}
	}
	return nil
}

// store writes the leaves that differ from old.
func store(m *mem.Mapping, old Value, b []byte) error {
	if bytes.Equal(old.b, b) {
		return nil
	}
	switch {
	case old.t.Kind == format.Struct:
		for _, f := range old.t.Fields {
			if err := store(m, old.sub(f.Type, f.Offset), b[f.Offset:][:f.Type.Size]); err != nil {
				return err
			}
		}
	case old.t.Kind == format.Array && !isBytes(old.t):
		for i, n := 0, old.t.Elem.Size; i < old.t.Len; i++ {
			if err := store(m, old.sub(old.t.Elem, i*n), b[i*n:][:n]); err != nil {
				return err
			}
		}
	case old.t.Kind == format.Sync:
	case old.t.Atomic && len(b) == 4:
		w, err := mem.At[atomic.Uint32](m, old.off)
		if err != nil {
			return err
		}
		w.Store(binary.NativeEndian.Uint32(b))
	case old.t.Atomic:
		w, err := mem.At[atomic.Uint64](m, old.off)
		if err != nil {
			return err
		}
		w.Store(binary.NativeEndian.Uint64(b))
	default:
		m.Store(old.off, b)
	}
	return nil
}

// parse changes the bytes of v to what text says.
func (v Value) parse(text string) error {
	switch k := v.Kind(); k {
	case Struct, List:
		return v.parseJSON(text)
	case Array:
		if !isBytes(v.t) || strings.HasPrefix(text, "[") {
			return v.parseJSON(text)
		}
		var p []byte
		if h, ok := strings.CutPrefix(text, "0x"); ok {
			var err error
			if p, err = hex.DecodeString(h); err != nil {
				return err
			}
		} else if q, err := unquote(text); err != nil {
			return err
		} else {
			p = []byte(q)
		}
		if len(p) > len(v.b) {
			return fmt.Errorf("%d bytes do not fit into %d", len(p), len(v.b))
		}
		clear(v.b[copy(v.b, p):])
		return nil
	case Text:
		q, err := unquote(text)
		if err != nil {
			return err
		}
		return v.setText(q)
	case Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("true or false is needed")
		}
		n := uint64(0)
		if b {
			n = 1
		}
		v.setUint(n)
		return nil
	case Int:
		if v.t.Name == "time.Duration" {
			if d, err := time.ParseDuration(text); err == nil {
				v.setUint(uint64(d))
				return nil
			}
		}
		n, err := strconv.ParseInt(text, 0, 8*len(v.b))
		if err != nil {
			return numError(err, "int", len(v.b))
		}
		v.setUint(uint64(n))
		return nil
	case Uint:
		n, err := strconv.ParseUint(text, 0, 8*len(v.b))
		if err != nil {
			return numError(err, "uint", len(v.b))
		}
		v.setUint(n)
		return nil
	case Float:
		f, err := strconv.ParseFloat(text, 8*len(v.b))
		if err != nil {
			return numError(err, "float", len(v.b))
		}
		v.setFloat(f)
		return nil
	case Complex:
		c, err := strconv.ParseComplex(text, 8*len(v.b))
		if err != nil {
			return numError(err, "complex", len(v.b))
		}
		n := len(v.b) / 2
		Value{b: v.b[:n]}.setFloat(real(c))
		Value{b: v.b[n:]}.setFloat(imag(c))
		return nil
	case Lock:
		return errors.New("a lock cannot be set")
	}
	return errors.New("raw bytes cannot be set")
}

func numError(err error, kind string, size int) error {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("out of the range of %s%d", kind, 8*size)
	}
	return fmt.Errorf("%s%d is needed", kind, 8*size)
}

func unquote(s string) (string, error) {
	if len(s) < 2 || s[0] != '"' {
		return s, nil
	}
	q, err := strconv.Unquote(s)
	if err != nil {
		return "", errors.New("the quotes do not match")
	}
	return q, nil
}

func (v Value) setText(s string) error {
	if len(s) > len(v.b) {
		return fmt.Errorf("a text of %d bytes does not fit into %d", len(s), len(v.b))
	}
	if strings.IndexByte(s, 0) >= 0 {
		return errors.New("a text cannot have a NUL byte")
	}
	clear(v.b[copy(v.b, s):])
	return nil
}

func (v Value) setUint(n uint64) {
	switch len(v.b) {
	case 1:
		v.b[0] = byte(n)
	case 2:
		binary.NativeEndian.PutUint16(v.b, uint16(n))
	case 4:
		binary.NativeEndian.PutUint32(v.b, uint32(n))
	case 8:
		binary.NativeEndian.PutUint64(v.b, n)
	}
}

func (v Value) setFloat(f float64) {
	if len(v.b) == 4 {
		v.setUint(uint64(math.Float32bits(float32(f))))
		return
	}
	v.setUint(math.Float64bits(f))
}

func (v Value) parseJSON(text string) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var j any
	if err := d.Decode(&j); err != nil {
		return fmt.Errorf("JSON of a %s is needed: %w", v.Type(), err)
	}
	if d.More() {
		return errors.New("there is more behind the JSON value")
	}
	return v.fill("", j)
}

func (v Value) fill(path string, j any) error {
	wrong := func() error {
		return fmt.Errorf("%s is a %s", orValue(path), v.Type())
	}
	switch k := v.Kind(); k {
	case Struct:
		m, ok := j.(map[string]any)
		if !ok {
			return wrong()
		}
		for n, e := range m {
			f, ok := v.Field(n)
			if !ok {
				return fmt.Errorf("%s has no field %q%s", orValue(path), n, v.fieldsHint())
			}
			if err := f.fill(join(path, n), e); err != nil {
				return err
			}
		}
		return nil
	case Array, List:
		all, ok := j.([]any)
		if !ok {
			if s, isText := j.(string); isText && k == Array && isBytes(v.t) {
				return v.parse(s)
			}
			return wrong()
		}
		items := v
		if k == List {
			f := v.t.Fields[1]
			items = v.sub(f.Type, f.Offset)
		}
		if n := items.t.Len; len(all) > n || k == Array && len(all) != n {
			return fmt.Errorf("%s has %d elements, not %d", orValue(path), n, len(all))
		}
		if k == List {
			v.sub(v.t.Fields[0].Type, v.t.Fields[0].Offset).setUint(uint64(len(all)))
			clear(items.b[len(all)*items.t.Elem.Size:])
		}
		for i, e := range all {
			if err := items.Index(i).fill(path+"["+itoa(i)+"]", e); err != nil {
				return err
			}
		}
		return nil
	case Text:
		s, ok := j.(string)
		if !ok {
			return wrong()
		}
		return v.setText(s)
	case Bool:
		b, ok := j.(bool)
		if !ok {
			return wrong()
		}
		return v.parse(strconv.FormatBool(b))
	case Lock:
		return fmt.Errorf("%s: a lock cannot be set", orValue(path))
	}
	switch n := j.(type) {
	case json.Number:
		if err := v.parse(string(n)); err != nil {
			return fmt.Errorf("%s: %w", orValue(path), err)
		}
		return nil
	case string: // floats that JSON does not have
		if k := v.Kind(); k == Float || k == Complex {
			return v.parse(n)
		}
	}
	return wrong()
}
