package format

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	types := []*Type{of[config](t), of[mixed](t), of[uint8](t), of[[3][4]route](t)}
	for range 2000 {
		types = append(types, randomType(r, 5))
	}
	for _, s := range types {
		b := s.AppendBinary(nil)
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("%v: %v", s, err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Fatalf("got  %v\nwant %v", got, s)
		}
		if got.Fingerprint() != s.Fingerprint() || len(Diff(got, s)) > 0 || !Prefix(got, s) {
			t.Fatalf("%v is not itself", s)
		}
		for n := range b {
			if _, err := Decode(b[:n]); !errors.Is(err, ErrSchema) {
				t.Fatalf("%v: %d of %d bytes: %v", s, n, len(b), err)
			}
			if len(b) > 500 {
				break
			}
		}
	}
}

// TestEncodingStays holds the bytes that are in segments out there.
func TestEncodingStays(t *testing.T) {
	s := &Type{Kind: Struct, Name: "main.T", Size: 24, Align: 8, Fields: []Field{
		{"A", 0, &Type{Kind: Uint32, Size: 4, Align: 4}},
		{"L", 4, &Type{Kind: Sync, Name: "psync.Mutex", Size: 8, Align: 4}},
		{"N", 16, &Type{Kind: Array, Len: 1, Size: 8, Align: 8, Elem: &Type{Kind: Int64, Atomic: true, Size: 8, Align: 8}}},
	}}
	const want = "01" + "12066d61696e2e5418" + "08" + "03" +
		"014100" + "08000404" +
		"014c04" + "130b7073796e632e4d757465780804" +
		"014e10" + "11000808" + "01" + "85000808"
	if got := hex.EncodeToString(s.AppendBinary(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want64 := uint64(0x92cad62986586db6)
	if native.Uint16([]byte{1, 0}) != 1 {
		want64 = 0x7ca0b26f66941813
	}
	if got := s.Fingerprint(); got != want64 {
		t.Errorf("fingerprint %#x, want %#x", got, want64)
	}
}

func TestDecodeRefuses(t *testing.T) {
	u8 := &Type{Kind: Uint8, Size: 1, Align: 1}
	u32 := &Type{Kind: Uint32, Size: 4, Align: 4}
	str := func(size int, fields ...Field) *Type {
		return &Type{Kind: Struct, Size: size, Align: 4, Fields: fields}
	}
	for name, s := range map[string]*Type{
		"no size":          {Kind: Struct, Align: 1},
		"no align":         {Kind: Uint8, Size: 1},
		"odd align":        {Kind: Struct, Size: 6, Align: 3},
		"large align":      {Kind: Struct, Size: 1 << 20, Align: 1 << 20},
		"size to align":    {Kind: Struct, Size: 6, Align: 4},
		"kind 0":           {Size: 1, Align: 1},
		"kind 99":          {Kind: 99, Size: 1, Align: 1},
		"uint32 of 8":      {Kind: Uint32, Size: 8, Align: 4},
		"int of 2":         {Kind: Int, Size: 2, Align: 2},
		"atomic float":     {Kind: Float64, Atomic: true, Size: 8, Align: 8},
		"atomic bool of 1": {Kind: Bool, Atomic: true, Size: 1, Align: 1},
		"lock of none":     {Kind: Sync, Name: "sync.Mutex", Size: 8, Align: 4},
		"escape in a name": {Kind: Uint8, Name: "\x1b[2J", Size: 1, Align: 1},
		"bidi in a name":   {Kind: Uint8, Name: "a\u202eb", Size: 1, Align: 1},
		"array too short":  {Kind: Array, Size: 3, Align: 1, Len: 4, Elem: u8},
		"array of 0":       {Kind: Array, Size: 4, Align: 1, Len: 0, Elem: u8},
		"array's align":    {Kind: Array, Size: 4, Align: 2, Len: 4, Elem: u8},
		"field outside":    str(8, Field{"A", 8, u32}),
		"field sticks out": str(4, Field{"A", 4, u32}),
		"field far out":    str(4, Field{"A", math.MaxInt &^ 3, u32}),
		"fields overlap":   str(8, Field{"A", 0, u32}, Field{"B", 3, u8}),
		"fields disorder":  str(8, Field{"A", 4, u32}, Field{"B", 0, u8}),
		"field twice":      str(8, Field{"A", 0, u32}, Field{"A", 4, u8}),
		"field unnamed":    str(8, Field{"", 0, u32}),
		"field blank":      str(8, Field{"_", 0, u32}),
		"field unaligned":  str(8, Field{"A", 2, u32}),
		"field's align":    {Kind: Struct, Size: 4, Align: 2, Fields: []Field{{"A", 0, u32}}},
	} {
		if got, err := Decode(s.AppendBinary(nil)); !errors.Is(err, ErrSchema) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	good := u32.AppendBinary(nil)
	for name, b := range map[string][]byte{
		"empty":         {},
		"version 0":     append([]byte{0}, good[1:]...),
		"version 2":     append([]byte{2}, good[1:]...),
		"trailing":      append(bytes.Clone(good), 0),
		"long number":   {1, byte(Uint32), 0, 0x84, 0, 4},
		"huge number":   {1, byte(Uint32), 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 4},
		"number > u64":  {1, byte(Uint32), 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 4},
		"array wraps":   {1, byte(Array), 0, 4, 4, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, byte(Uint32), 0, 4, 4},
		"long name":     {1, byte(Uint32), 200},
		"too many":      {1, byte(Struct), 0, 4, 4, 0xff, 0xff, 3},
		"deep":          append([]byte{1}, bytes.Repeat([]byte{byte(Array), 0, 1, 1, 1}, 1<<15)...),
		"beyond all":    make([]byte, MaxSchema+1),
		"all one field": append([]byte{1, byte(Struct), 0, 0x80, 0x80, 8, 1, 0x80, 0x80, 4}, bytes.Repeat([]byte{1, 'A'}, 1<<17)...),
	} {
		if got, err := Decode(b); !errors.Is(err, ErrSchema) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestDecodeLimits: schemas that are correct except for their size.
func TestDecodeLimits(t *testing.T) {
	u8 := &Type{Kind: Uint8, Size: 1, Align: 1}
	nested := func(levels int) *Type {
		s := u8
		for range levels - 1 {
			s = &Type{Kind: Array, Len: 1, Elem: s, Size: 1, Align: 1}
		}
		return s
	}
	wide := func(fields int) *Type {
		s := &Type{Kind: Struct, Size: fields, Align: 1}
		for i := range fields {
			s.Fields = append(s.Fields, Field{"f" + strconv.Itoa(i), i, u8})
		}
		return s
	}
	for _, c := range []struct {
		name string
		s    *Type
		ok   bool
	}{
		{"deepest", nested(maxDepth), true},
		{"too deep", nested(maxDepth + 1), false},
		{"widest", wide(maxNodes - 1), true},
		{"too wide", wide(maxNodes), false},
		{"longest name", &Type{Kind: Uint8, Size: 1, Align: 1, Name: strings.Repeat("n", maxName)}, true},
		{"name too long", &Type{Kind: Uint8, Size: 1, Align: 1, Name: strings.Repeat("n", maxName+1)}, false},
	} {
		b := c.s.AppendBinary(nil)
		if len(b) > MaxSchema {
			t.Errorf("%s: %d bytes: refused for its length alone", c.name, len(b))
		}
		if _, err := Decode(b); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrSchema) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// checkSane fails on what Decode must never give out.
func checkSane(t *testing.T, s *Type) {
	t.Helper()
	if s.Size < 1 || s.Align < 1 || s.Size%s.Align != 0 || !nameOK(s.Name) {
		t.Fatalf("%+v", s)
	}
	switch s.Kind {
	case Array:
		if s.Len < 1 || s.Size/s.Len != s.Elem.Size || s.Size%s.Len != 0 {
			t.Fatalf("%+v of %+v", s, s.Elem)
		}
		checkSane(t, s.Elem)
	case Struct:
		end := 0
		for _, f := range s.Fields {
			if f.Offset < end || f.Offset > s.Size-f.Type.Size || !nameOK(f.Name) {
				t.Fatalf("%+v in %+v", f, s)
			}
			end = f.Offset + f.Type.Size
			checkSane(t, f.Type)
		}
	}
}

func decodeAny(t *testing.T, b []byte) {
	s, err := Decode(b)
	if err != nil {
		if s != nil || !errors.Is(err, ErrSchema) {
			t.Fatalf("%v, %v", s, err)
		}
		return
	}
	checkSane(t, s)
	if again := s.AppendBinary(nil); !bytes.Equal(again, b) {
		t.Fatalf("%x is decoded, %x encoded", b, again)
	}
	if len(Diff(s, s)) > 0 || !Prefix(s, s) || len(s.String()) == 0 || len(s.Declaration()) == 0 {
		t.Fatalf("%v is not itself", s)
	}
	n := 0
	for sp := range s.Spans() {
		if sp.Off < 0 || sp.Len < 1 || sp.Off > s.Size-sp.Len {
			t.Fatalf("%v: span %v", s, sp)
		}
		if n++; n > 100 {
			break
		}
	}
}

func TestDecodeMutated(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	seeds := [][]byte{of[config](t).AppendBinary(nil), of[mixed](t).AppendBinary(nil)}
	for range 50000 {
		b := bytes.Clone(seeds[r.IntN(len(seeds))])
		for range 1 + r.IntN(3) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		decodeAny(t, b)
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	f.Add(of[config](f).AppendBinary(nil))
	f.Add(of[mixed](f).AppendBinary(nil))
	for range 20 {
		f.Add(randomType(r, 3).AppendBinary(nil))
	}
	f.Fuzz(decodeAny)
}
