package inspect

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// parse changes the bytes of v to what text says; see Assignment. v is a copy of a value: after an
// error part of it may be changed.
func (v Value) parse(text string) error {
	switch v.Kind() {
	case Struct, List:
		return v.parseJSON(text)
	case Array:
		if !isBytes(v.t) || strings.HasPrefix(text, "[") {
			return v.parseJSON(text)
		}
		return v.parseBytes(text)
	case Text:
		s, err := unquote(text)
		if err != nil {
			return err
		}
		return v.setText(s)
	case Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("true or false is needed")
		}
		v.setBool(b)
		return nil
	case Int, Uint, Float, Complex:
		return v.parseNumber(text)
	case Lock:
		return errors.New("a lock cannot be set")
	}
	return errors.New("raw bytes cannot be set")
}

// parseBytes sets an array of bytes from text or from hex digits; the rest of it becomes zero.
func (v Value) parseBytes(text string) error {
	var p []byte
	if h, ok := strings.CutPrefix(text, "0x"); ok {
		var err error
		if p, err = hex.DecodeString(h); err != nil {
			return err
		}
	} else {
		s, err := unquote(text)
		if err != nil {
			return err
		}
		p = []byte(s)
	}
	if len(p) > len(v.b) {
		return fmt.Errorf("%d bytes do not fit into %d", len(p), len(v.b))
	}
	clear(v.b[copy(v.b, p):])
	return nil
}

// parseNumber sets a number. One that the type cannot hold is an error, never cut off.
func (v Value) parseNumber(text string) error {
	bits := 8 * len(v.b)
	switch v.Kind() {
	case Int:
		if v.t.Name == "time.Duration" {
			if d, err := time.ParseDuration(text); err == nil {
				v.setUint(uint64(d))
				return nil
			}
		}
		n, err := strconv.ParseInt(text, 0, bits)
		if err != nil {
			return numberError(err, "int", bits)
		}
		v.setUint(uint64(n))
	case Uint:
		n, err := strconv.ParseUint(text, 0, bits)
		if err != nil {
			return numberError(err, "uint", bits)
		}
		v.setUint(n)
	case Float:
		f, err := strconv.ParseFloat(text, bits)
		if err != nil {
			return numberError(err, "float", bits)
		}
		v.setFloat(f)
	case Complex:
		c, err := strconv.ParseComplex(text, bits)
		if err != nil {
			return numberError(err, "complex", bits)
		}
		half := len(v.b) / 2
		Value{b: v.b[:half]}.setFloat(real(c))
		Value{b: v.b[half:]}.setFloat(imag(c))
	}
	return nil
}

// numberError says what is wrong with a number, in the words of the type.
func numberError(err error, kind string, bits int) error {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("out of the range of %s%d", kind, bits)
	}
	return fmt.Errorf("%s%d is needed", kind, bits)
}

// unquote removes Go's quotes where there are any.
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

// setText sets a shmem.Text, which ends at its first NUL byte.
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

func (v Value) setBool(b bool) {
	n := uint64(0)
	if b {
		n = 1
	}
	v.setUint(n)
}

// setUint stores the low bytes of n, as many as v has. The caller has checked that n fits.
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

// SetJSON changes the bytes of v, which [Type.Of] was given, to the value that text says: what
// WriteJSON and MarshalJSON write. Fields that it does not name stay. A number that its type cannot
// hold, a field that there is none of, and a lock are errors; part of v may be changed then.
func (v Value) SetJSON(text []byte) error {
	j, err := decodeJSON(string(text))
	if err != nil {
		return fmt.Errorf("JSON of a %s is needed: %w", v.Type(), err)
	}
	return v.setJSON("", j)
}

// decodeJSON returns the one JSON value of a text.
func decodeJSON(text string) (j any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // a float64 would round large integers
	if err := d.Decode(&j); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("the JSON value is followed by more text")
	}
	return j, nil
}

// parseJSON sets a struct, array or list.
func (v Value) parseJSON(text string) error {
	j, err := decodeJSON(text)
	if err != nil {
		return fmt.Errorf("JSON of a %s is needed: %w", v.Type(), err)
	}
	return v.setJSON("", j)
}

// setJSON sets v to what a JSON decoder returned. path is where v is in the JSON, for errors.
func (v Value) setJSON(path string, j any) error {
	switch v.Kind() {
	case Struct:
		if fields, ok := j.(map[string]any); ok {
			return v.setFields(path, fields)
		}
	case Array, List:
		if all, ok := j.([]any); ok {
			return v.setElements(path, all)
		}
		if s, ok := j.(string); ok && v.Kind() == Array && isBytes(v.t) {
			return v.parse(s)
		}
	case Text:
		if s, ok := j.(string); ok {
			return v.setText(s)
		}
	case Bool:
		if b, ok := j.(bool); ok {
			v.setBool(b)
			return nil
		}
	case Lock:
		return fmt.Errorf("%s: a lock cannot be set", orValue(path))
	default:
		if done, err := v.setJSONNumber(path, j); done {
			return err
		}
	}
	return fmt.Errorf("%s is a %s", orValue(path), v.Type())
}

// setFields sets the fields that are named, and no others.
func (v Value) setFields(path string, fields map[string]any) error {
	for name, j := range fields {
		f, ok := v.Field(name)
		if !ok {
			return fmt.Errorf("%s has no field %q%s", orValue(path), name, v.fieldsHint())
		}
		if err := f.setJSON(join(path, name), j); err != nil {
			return err
		}
	}
	return nil
}

// setElements sets all elements of an array, or the whole of a list: its length, its elements, and
// zeros behind them.
func (v Value) setElements(path string, all []any) error {
	items, isList := v, v.Kind() == List
	if isList {
		f := v.t.Fields[1]
		items = v.sub(f.Type, f.Offset)
	}
	if n := items.t.Len; len(all) > n || !isList && len(all) != n {
		return fmt.Errorf("%s has %d elements, not %d", orValue(path), n, len(all))
	}
	if isList {
		v.sub(v.t.Fields[0].Type, v.t.Fields[0].Offset).setUint(uint64(len(all)))
		clear(items.b[len(all)*items.t.Elem.Size:])
	}
	for i, j := range all {
		if err := items.Index(i).setJSON(path+"["+strconv.Itoa(i)+"]", j); err != nil {
			return err
		}
	}
	return nil
}

// setJSONNumber sets a number. done is false if j is none. A complex number, and a float that JSON
// lacks, such as NaN, is a string; an integer can be one. See MarshalJSON and WriteJSON.
func (v Value) setJSONNumber(path string, j any) (done bool, err error) {
	switch n := j.(type) {
	case json.Number:
		if err := v.parse(string(n)); err != nil {
			return true, fmt.Errorf("%s: %w", orValue(path), err)
		}
		return true, nil
	case string:
		if k := v.Kind(); k == Float || k == Complex || k == Int || k == Uint {
			return true, v.parse(n)
		}
	}
	return false, nil
}
