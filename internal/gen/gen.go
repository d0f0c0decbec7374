// Package gen writes code in other languages that joins a segment: types whose every offset and size
// is asserted, and the protocol of docs/format.md. It is pure.
package gen

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"go/format"
	"slices"
	"strconv"
	"strings"
	"unicode"

	schema "github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/layout"
)

var (
	//go:embed runtime.h
	runtimeC string
	//go:embed runtime.py
	runtimePython string
	//go:embed topic.py
	topicPython string
	//go:embed runtime.rs
	runtimeRust string
)

// maxParts bounds the ranges of bytes that a generated Store copies.
const maxParts = 1 << 14

// ErrStream: the value is a queue or topic, which code that stores it as a whole would break.
var ErrStream = errors.New("it is no box")

// refuse is the error of a queue or topic that there is no code for.
func refuse(lang string, t *schema.Type) error {
	item := ""
	if i := layout.Item(t); i != nil {
		item = i.String()
		if i.Name != "" {
			item = i.Name
		}
	}
	switch stream := layout.Stream(t); {
	case stream == "queue.Queue":
		return fmt.Errorf("%w: code that stores a %s would overwrite its ring while others send and receive; Go programs join it by queue.Attach[%s]", ErrStream, stream, item)
	case stream == "queue.Bytes":
		return fmt.Errorf("%w: code that stores a %s would overwrite its ring while others send and receive; Go programs join it by queue.AttachBytes, others by pipes from `shmem tail` and to `shmem pump`", ErrStream, stream)
	case stream != "" && (lang == "c" || lang == "rust"):
		return fmt.Errorf("%w: code that stores a %s would overwrite its ring while others publish; Go programs join it by topic.Attach[%s], Python by the follow() of gen python, others by pipes from `shmem tail --raw` and to `shmem pump`; docs/format.md tells how to follow one",
			ErrStream, stream, item)
	}
	return nil
}

// Generate writes the code for a value of type t, called ident, or as in Go if that is empty. Of a topic Go gets the
// type of its messages, and Python code that follows it; for other languages, and for queues, it is ErrStream.
func Generate(lang string, t *schema.Type, ident string) ([]byte, error) {
	if err := refuse(lang, t); err != nil {
		return nil, err
	}
	if layout.Stream(t) != "" && lang == "go" {
		t = layout.Item(t)
	}
	if ident == "" {
		ident = identOf(t.Name)
	}
	if ident == "" {
		ident = "Value"
	}
	if ident != clean(ident) {
		return nil, fmt.Errorf("%q is no identifier", ident)
	}
	if t.Kind != schema.Struct {
		// A value that is no struct becomes one with one field, at the same place.
		t = &schema.Type{Kind: schema.Struct, Name: t.Name, Size: t.Size, Align: t.Align, Fields: []schema.Field{{Name: "Value", Type: t}}}
		if lang == "go" {
			t = t.Fields[0].Type
		}
	}
	g := &generator{root: t, ident: ident, names: map[string]*schema.Type{}, of: map[*schema.Type]string{}, print: t.Fingerprint()}
	if len(t.Fields) == 1 && t.Fields[0].Name == "Value" && t.Fields[0].Type.Size == t.Size && t.Name == t.Fields[0].Type.Name {
		g.print = t.Fields[0].Type.Fingerprint()
	}
	if lang != "go" {
		g.collect(t, ident)
		if err := g.spans(); err != nil {
			return nil, err
		}
	}
	switch lang {
	case "c":
		return g.c(), nil
	case "python":
		return g.python(), nil
	case "rust":
		return g.rust(), nil
	case "go":
		return g.golang()
	}
	return nil, fmt.Errorf("language %q: c, python, rust and go are there", lang)
}

type generator struct {
	bytes.Buffer
	root  *schema.Type
	ident string
	print uint64
	order []*schema.Type // structs, what is used before who uses it
	names map[string]*schema.Type
	of    map[*schema.Type]string
	parts []schema.Span
}

func (g *generator) f(format string, a ...any) { fmt.Fprintf(g, format, a...) }

// identOf makes an identifier of a Go type's name.
func identOf(name string) string {
	base, args, generic := strings.Cut(name, "[")
	base = base[strings.LastIndexByte(base, '.')+1:]
	if generic {
		for _, a := range strings.FieldsFunc(args, func(r rune) bool { return r == ',' || r == ']' || r == '[' }) {
			base += "_" + a[strings.LastIndexByte(a, '.')+1:]
		}
	}
	return clean(base)
}

func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '_' || r < 128 && (unicode.IsLetter(r) || unicode.IsDigit(r)) || r >= 128 && unicode.IsLetter(r) {
			return r
		}
		return '_'
	}, s)
	if s != "" && unicode.IsDigit(rune(s[0])) {
		s = "_" + s
	}
	return s
}

func isText(t *schema.Type) bool {
	return strings.HasPrefix(t.Name, "shmem.Text[") && len(t.Fields) == 1 && t.Fields[0].Type.Kind == schema.Array &&
		t.Fields[0].Type.Elem.Kind == schema.Uint8 && !t.Fields[0].Type.Elem.Atomic
}

// collect names every struct.
func (g *generator) collect(t *schema.Type, at string) {
	switch {
	case t.Kind == schema.Array:
		g.collect(t.Elem, at)
		return
	case t.Kind != schema.Struct || isText(t) && t != g.root || g.of[t] != "":
		return
	}
	name := at
	if t != g.root {
		if name = identOf(t.Name); name == "" {
			name = at
		}
		name = g.escape(name)
	}
	print := t.Fingerprint()
	for n := 2; ; n++ {
		other, taken := g.names[name]
		if !taken {
			break
		}
		if other != g.root && other.Fingerprint() == print && other.Align == t.Align {
			g.of[t] = name
			return
		}
		name = strings.TrimRight(name, "0123456789") + strconv.Itoa(n)
	}
	g.names[name], g.of[t] = t, name
	for _, f := range t.Fields {
		g.collect(f.Type, name+"_"+clean(f.Name))
	}
	g.order = append(g.order, t)
}

func (g *generator) escape(name string) string {
	if name == g.ident {
		return name + "_"
	}
	return name
}

func (g *generator) spans() error {
	at := 0
	for s := range g.root.Spans() {
		if s.Off > at {
			g.parts = append(g.parts, schema.Span{Off: at, Len: s.Off - at})
		}
		if at = s.Off + s.Len; len(g.parts) > maxParts {
			return errors.New("atomics and locks are in too many places of the value for generated code; put them together")
		}
	}
	if at < g.root.Size {
		g.parts = append(g.parts, schema.Span{Off: at, Len: g.root.Size - at})
	}
	return nil
}

var reserved = map[string]bool{}

func init() {
	for _, w := range strings.Fields(`
		auto break case char const continue default do double else enum extern float for goto if inline int long register restrict
		return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false NULL asm errno unix linux
		as async await crate dyn fn impl in let loop match mod move mut pub ref self Self super trait type unsafe use where abstract become box
		final macro override priv try typeof unsized virtual yield
		False None True and assert class def del elif except from global import is lambda nonlocal not or pass raise with`) {
		reserved[w] = true
	}
}

// field is the name of a field in the other language.
func field(name string) string {
	if name = clean(name); reserved[name] {
		return name + "_"
	}
	return name
}

// fields ranges over a struct's fields with unique names, and the padding before each and at the end.
func (g *generator) fields(t *schema.Type, yield func(name string, f schema.Field, padding string, pad int)) {
	seen, end, pads := map[string]bool{}, 0, 0
	for _, f := range t.Fields {
		seen["."+clean(f.Name)] = true // no padding is called so
	}
	padding := func() string {
		for {
			n := fmt.Sprintf("pad%d_", pads)
			if pads++; !seen["."+n] {
				return n
			}
		}
	}
	for _, f := range t.Fields {
		n := field(f.Name)
		for seen[n] {
			n += "_"
		}
		seen[n] = true
		pad := ""
		if f.Offset > end {
			pad = padding()
		}
		yield(n, f, pad, f.Offset-end)
		end = f.Offset + f.Type.Size
	}
	if end < t.Size {
		yield("", schema.Field{Offset: end}, padding(), t.Size-end)
	}
}

func note(t *schema.Type) string {
	for t.Kind == schema.Array {
		t = t.Elem
	}
	switch {
	case t.Atomic:
		return "atomic"
	case t.Kind == schema.Sync:
		return t.Name + ": leave it alone"
	case t.Kind == schema.Bool:
		return "bool"
	case t.Kind == schema.Int || t.Kind == schema.Uint || t.Kind == schema.Uintptr:
		return "Go " + t.Kind.String()
	case isText(t):
		return "text, not terminated when full"
	}
	return ""
}

// dims splits an array type.
func dims(t *schema.Type) (*schema.Type, []int) {
	var d []int
	for t.Kind == schema.Array {
		d = append(d, t.Len)
		t = t.Elem
	}
	return t, d
}

func (g *generator) bits(t *schema.Type) string { return strconv.Itoa(8 * t.Size) }

// C

func (g *generator) cType(t *schema.Type) (typ string, more []int) {
	switch t.Kind {
	case schema.Bool:
		return "uint" + g.bits(t) + "_t", nil
	case schema.Int8, schema.Int16, schema.Int32, schema.Int64, schema.Int:
		return "int" + g.bits(t) + "_t", nil
	case schema.Float32:
		return "float", nil
	case schema.Float64:
		return "double", nil
	case schema.Complex64:
		return "float", []int{2}
	case schema.Complex128:
		return "double", []int{2}
	case schema.Sync:
		return "uint" + strconv.Itoa(8*t.Align) + "_t", []int{t.Size / t.Align}
	case schema.Struct:
		if isText(t) && t != g.root {
			return "char", []int{t.Size}
		}
		return g.of[t], nil
	}
	return "uint" + g.bits(t) + "_t", nil
}

func (g *generator) c() []byte {
	guard := strings.ToUpper(clean(g.ident)) + "_SHMEM_H"
	g.f(`/* Code generated by shmem gen c; DO NOT EDIT.
 *
 *	%[1]s_box b;
 *	%[1]s v;
 *	if (%[1]s_open(&b, "name") < 0 || %[1]s_load(&b, &v) < 0) { puts(b.error); ... }
 *
 * %[1]s_open reads without a slot; %[1]s_attach also writes: %[1]s_store. Both refuse a
 * segment of another type. Compile with -std=gnu11 or later.
 */
#ifndef %[2]s
#define %[2]s

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
`, g.ident, guard)
	g.WriteString(runtimeC)
	g.f("\n#define %s_FINGERPRINT 0x%016xULL\n\n", strings.ToUpper(g.ident), g.print)
	for _, t := range g.order {
		name := g.of[t]
		g.f("typedef struct %s { /* %s */\n", name, comment(t.Name))
		var asserts strings.Builder
		g.fields(t, func(n string, f schema.Field, padding string, pad int) {
			if pad > 0 {
				g.f("\tuint8_t %s[%d];\n", padding, pad)
			}
			if n == "" {
				return
			}
			elem, d := dims(f.Type)
			typ, more := g.cType(elem)
			g.f("\t%s %s", typ, n)
			for _, l := range append(d, more...) {
				g.f("[%d]", l)
			}
			g.f(";")
			if c := note(f.Type); c != "" {
				g.f(" /* %s */", c)
			}
			g.f("\n")
			fmt.Fprintf(&asserts, "_Static_assert(offsetof(%s, %s) == %d && sizeof(((%s *)0)->%s) == %d, \"%s.%s\");\n", name, n, f.Offset, name, n, f.Type.Size, name, n)
		})
		g.f("} %s;\n_Static_assert(sizeof(%s) == %d, \"%s\");\n%s\n", name, name, t.Size, name, asserts.String())
	}
	g.f("static const shmembox_part %s_parts_[] = {", g.ident)
	for i, p := range g.parts {
		if i%8 == 0 {
			g.f("\n\t")
		}
		g.f("{%d, %d}, ", p.Off, p.Len)
	}
	if len(g.parts) == 0 {
		g.f("{0, 0}")
	}
	g.f("\n};\n\n")
	g.f(`typedef shmembox %[1]s_box;

/* Each returns 0, or less than 0 (-errno); then b->error says what is the matter. */
static inline int %[1]s_open(%[1]s_box *b, const char *name) {
	return shmembox_open(b, name, %[2]s_FINGERPRINT, sizeof(%[1]s), %[1]s_parts_, sizeof %[1]s_parts_ / sizeof *%[1]s_parts_);
}
static inline int %[1]s_attach(%[1]s_box *b, const char *name) {
	return shmembox_attach(b, name, %[2]s_FINGERPRINT, sizeof(%[1]s), %[1]s_parts_, sizeof %[1]s_parts_ / sizeof *%[1]s_parts_);
}
static inline int %[1]s_load(%[1]s_box *b, %[1]s *v) { return shmembox_load(b, v); }
static inline int %[1]s_store(%[1]s_box *b, const %[1]s *v) { return shmembox_store(b, v, 5000); }
static inline uint64_t %[1]s_version(%[1]s_box *b) { return shmembox_version(b); }
/* The value itself, for atomics: use __atomic builtins. */
static inline %[1]s *%[1]s_value(%[1]s_box *b) { return (%[1]s *)(void *)b->base; }
static inline void %[1]s_close(%[1]s_box *b) { shmembox_close(b); }

#endif
`, g.ident, strings.ToUpper(g.ident))
	return g.Bytes()
}

func comment(s string) string {
	if s == "" {
		return "unnamed"
	}
	return strings.NewReplacer("*/", "* /", "/*", "/ *").Replace(s)
}

// Python

func (g *generator) pyType(t *schema.Type) string {
	switch t.Kind {
	case schema.Bool:
		if t.Atomic {
			return "ctypes.c_uint32"
		}
		return "ctypes.c_bool"
	case schema.Int8, schema.Int16, schema.Int32, schema.Int64, schema.Int:
		return "ctypes.c_int" + g.bits(t)
	case schema.Float32:
		return "ctypes.c_float"
	case schema.Float64:
		return "ctypes.c_double"
	case schema.Complex64:
		return "ctypes.c_float * 2"
	case schema.Complex128:
		return "ctypes.c_double * 2"
	case schema.Sync:
		return fmt.Sprintf("ctypes.c_uint%d * %d", 8*t.Align, t.Size/t.Align)
	case schema.Array:
		return fmt.Sprintf("(%s) * %d", g.pyType(t.Elem), t.Len)
	case schema.Struct:
		if isText(t) && t != g.root {
			return fmt.Sprintf("ctypes.c_char * %d", t.Size)
		}
		return g.of[t]
	}
	return "ctypes.c_uint" + g.bits(t)
}

func (g *generator) npType(t *schema.Type) string {
	switch t.Kind {
	case schema.Bool:
		if t.Atomic {
			return "'u4'"
		}
		return "'?'"
	case schema.Int8, schema.Int16, schema.Int32, schema.Int64, schema.Int:
		return fmt.Sprintf("'i%d'", t.Size)
	case schema.Float32, schema.Float64:
		return fmt.Sprintf("'f%d'", t.Size)
	case schema.Complex64, schema.Complex128:
		return fmt.Sprintf("'c%d'", t.Size)
	case schema.Sync:
		return fmt.Sprintf("'V%d'", t.Size)
	case schema.Array:
		e, d := dims(t)
		s := make([]string, len(d))
		for i := range d {
			s[i] = strconv.Itoa(d[i])
		}
		return fmt.Sprintf("(%s, (%s,))", g.npType(e), strings.Join(s, ", "))
	case schema.Struct:
		if isText(t) && t != g.root {
			return fmt.Sprintf("'S%d'", t.Size)
		}
		return "_dtype_" + g.of[t] + "()"
	}
	return fmt.Sprintf("'u%d'", t.Size)
}

func (g *generator) python() []byte {
	g.f(`# Code generated by shmem gen python; DO NOT EDIT.
"""%[1]s in shared memory.

    with %[1]sBox.open("name") as box:
        v = box.load()          # as it was at one moment; takes no lock
    with %[1]sBox.attach("name") as box:
        v = box.load()
        v.%[2]s = ...
        box.store(v)            # as a whole, under the box's lock; needs libatomic.so.1

Both refuse a segment of another type. load_numpy() gives a numpy scalar of DTYPE.
"""
import ctypes
import ctypes.util
import errno
import fcntl
import gc
import mmap
import os
import stat
import struct
import threading
import time

try:
    import numpy
except ImportError:
    numpy = None

FINGERPRINT = 0x%016[3]x
SIZE = %[4]d
`, g.ident, g.firstField(), g.print, g.root.Size)
	g.f("_PARTS = (")
	for i, p := range g.parts {
		if i%8 == 0 {
			g.f("\n    ")
		}
		g.f("(%d, %d), ", p.Off, p.Len)
	}
	g.f("\n)\n\n\n")
	for _, t := range g.order {
		name := g.of[t]
		g.f("class %s(ctypes.Structure):\n    _fields_ = [\n", name)
		var asserts strings.Builder
		g.fields(t, func(n string, f schema.Field, padding string, pad int) {
			if pad > 0 {
				g.f("        (%q, ctypes.c_uint8 * %d),\n", padding, pad)
			}
			if n == "" {
				return
			}
			g.f("        (%q, %s),", n, g.pyType(f.Type))
			if c := note(f.Type); c != "" {
				g.f("  # %s", c)
			}
			g.f("\n")
			fmt.Fprintf(&asserts, "assert %s.%s.offset == %d and %s.%s.size == %d, %q\n", name, n, f.Offset, name, n, f.Type.Size, name+"."+n)
		})
		g.f("    ]\n\n\nassert ctypes.sizeof(%s) == %d\n%s\n\n", name, t.Size, asserts.String())
		g.f("def _dtype_%s():\n    return numpy.dtype({\n", name)
		var names, formats, offsets []string
		g.fields(t, func(n string, f schema.Field, _ string, _ int) {
			if n != "" {
				names = append(names, strconv.Quote(n))
				formats = append(formats, g.npType(f.Type))
				offsets = append(offsets, strconv.Itoa(f.Offset))
			}
		})
		g.f("        \"names\": [%s],\n        \"formats\": [%s],\n        \"offsets\": [%s],\n        \"itemsize\": %d,\n    })\n\n\n",
			strings.Join(names, ", "), strings.Join(formats, ", "), strings.Join(offsets, ", "), t.Size)
	}
	if item := layout.Item(g.root); item != nil {
		g.f("_ITEMS, _ITEM = %d, %s\n", g.root.Fields[len(g.root.Fields)-1].Type.Len, g.pyType(item))
	}
	g.f("VALUE = %s\nDTYPE = _dtype_%s() if numpy is not None else None\n\n", g.ident, g.ident)
	g.WriteString(strings.ReplaceAll(runtimePython, "class _Box:", "class "+g.ident+"Box:"))
	if layout.Stream(g.root) != "" {
		g.WriteString(topicPython)
	}
	return g.Bytes()
}

func (g *generator) firstField() string {
	if len(g.root.Fields) == 0 {
		return "field"
	}
	return field(g.root.Fields[0].Name)
}

// Rust

func (g *generator) rsType(t *schema.Type) string {
	switch t.Kind {
	case schema.Bool:
		return "u" + g.bits(t)
	case schema.Int8, schema.Int16, schema.Int32, schema.Int64, schema.Int:
		return "i" + g.bits(t)
	case schema.Float32:
		return "f32"
	case schema.Float64:
		return "f64"
	case schema.Complex64:
		return "[f32; 2]"
	case schema.Complex128:
		return "[f64; 2]"
	case schema.Sync:
		return fmt.Sprintf("[u%d; %d]", 8*t.Align, t.Size/t.Align)
	case schema.Array:
		return fmt.Sprintf("[%s; %d]", g.rsType(t.Elem), t.Len)
	case schema.Struct:
		if isText(t) && t != g.root {
			return fmt.Sprintf("[u8; %d]", t.Size)
		}
		return g.of[t]
	}
	return "u" + g.bits(t)
}

func (g *generator) rust() []byte {
	g.f(`// Code generated by shmem gen rust; DO NOT EDIT.
//
//! %[1]s in shared memory.
//!
//!     let box_ = config::Reader::open("name")?;      // no lock, no slot
//!     let v = box_.load()?;                          // as it was at one moment
//!     let mut box_ = config::Attachment::attach("name")?;
//!     box_.store(&v)?;                               // as a whole, under the box's lock
//!
//! Both refuse a segment of another type. It needs nothing but std (Rust 1.59 or later).
#![allow(non_snake_case, non_camel_case_types, dead_code)]

pub const FINGERPRINT: u64 = 0x%016[2]x;
pub const SIZE: usize = %[3]d;
pub type Value = %[1]s;
const PARTS: [(usize, usize); %[4]d] = [`, g.ident, g.print, g.root.Size, len(g.parts))
	for i, p := range g.parts {
		if i%8 == 0 {
			g.f("\n    ")
		}
		g.f("(%d, %d), ", p.Off, p.Len)
	}
	g.f("\n];\n\n/// Where a field of that alignment stands behind end.\nconst fn place(end: usize, align: usize) -> usize {\n    (end + align - 1) / align * align\n}\n\n")
	for _, t := range g.order {
		name := g.of[t]
		g.f("#[repr(C)]\n#[derive(Clone, Copy)]\npub struct %s {\n", name)
		var asserts strings.Builder
		g.fields(t, func(n string, f schema.Field, padding string, pad int) {
			if pad > 0 {
				g.f("    pub %s: [u8; %d],\n", padding, pad)
				fmt.Fprintf(&asserts, "    end += %d;\n", pad)
			}
			if n == "" {
				return
			}
			typ := g.rsType(f.Type)
			g.f("    pub %s: %s,", n, typ)
			if c := note(f.Type); c != "" {
				g.f(" // %s", c)
			}
			g.f("\n")
			fmt.Fprintf(&asserts, "    end = place(end, std::mem::align_of::<%s>());\n    assert!(end == %d && std::mem::size_of::<%s>() == %d, \"%s.%s\");\n    end += %d;\n",
				typ, f.Offset, typ, f.Type.Size, name, n, f.Type.Size)
		})
		// repr(C) is just this: each field at the next place of its alignment.
		g.f("}\n\nconst _: () = {\n    let mut end = 0;\n%s    assert!(end == %d && std::mem::size_of::<%s>() == %d, \"%s\");\n};\n\n", asserts.String(), t.Size, name, t.Size, name)
		g.f("impl Default for %s {\n    fn default() -> Self {\n        unsafe { std::mem::zeroed() }\n    }\n}\n\n", name)
	}
	g.WriteString(runtimeRust)
	return g.Bytes()
}

// Go

func (g *generator) goType(t *schema.Type) string {
	switch {
	case t.Atomic:
		return "atomic." + map[schema.Kind]string{
			schema.Bool: "Bool", schema.Int32: "Int32", schema.Int64: "Int64", schema.Uint32: "Uint32", schema.Uint64: "Uint64", schema.Uintptr: "Uintptr",
		}[t.Kind]
	case t.Kind == schema.Array:
		return fmt.Sprintf("[%d]%s", t.Len, g.goType(t.Elem))
	case t.Kind == schema.Sync:
		return t.Name
	case isText(t):
		return fmt.Sprintf("shmem.Text[[%d]byte]", t.Size)
	case t.Kind == schema.Struct && strings.HasPrefix(t.Name, "shmem.Vec[") && len(t.Fields) == 2 && t.Fields[1].Type.Kind == schema.Array:
		items := t.Fields[1].Type
		elem := g.goType(items.Elem)
		return fmt.Sprintf("shmem.Vec[%s, [%d]%s]", elem, items.Len, elem)
	case t.Kind == schema.Struct:
		return g.of[t]
	case t.Name == "time.Duration":
		return t.Name
	}
	return t.Kind.String()
}

func (g *generator) collectGo(t *schema.Type, at string) {
	switch {
	case t.Kind == schema.Array:
		g.collectGo(t.Elem, at)
	case t.Kind == schema.Struct && t != g.root && (isText(t) || strings.HasPrefix(t.Name, "shmem.Vec[") && len(t.Fields) == 2):
		for _, f := range t.Fields[1:] {
			g.collectGo(f.Type, at)
		}
	case t.Kind == schema.Struct && g.of[t] == "":
		name := at
		if t != g.root && identOf(t.Name) != "" {
			name = g.escape(identOf(t.Name))
		}
		for n := 2; g.names[name] != nil; n++ {
			if g.names[name].Fingerprint() == t.Fingerprint() {
				g.of[t] = name
				return
			}
			name = strings.TrimRight(name, "0123456789") + strconv.Itoa(n)
		}
		g.names[name], g.of[t] = t, name
		for _, f := range t.Fields {
			g.collectGo(f.Type, name+clean(f.Name))
		}
		g.order = append(g.order, t)
	}
}

func (g *generator) golang() ([]byte, error) {
	g.collectGo(g.root, g.ident)
	slices.Reverse(g.order) // who uses before what is used
	var body bytes.Buffer
	b := &generator{root: g.root, of: g.of}
	if g.root.Kind != schema.Struct {
		fmt.Fprintf(&body, "// %s is %s in the segment.\ntype %s %s\n\n", g.ident, comment(g.root.Name), g.ident, g.goType(g.root))
	}
	for _, t := range g.order {
		fmt.Fprintf(&body, "// %s is %s in the segment, %d bytes.\ntype %s struct {\n", g.of[t], comment(t.Name), t.Size, g.of[t])
		end := 0
		for _, f := range t.Fields {
			if at := (end + f.Type.Align - 1) / f.Type.Align * f.Type.Align; at != f.Offset {
				fmt.Fprintf(&body, "\t_ [%d]byte\n", f.Offset-end)
			}
			fmt.Fprintf(&body, "\t%s %s // at %d\n", f.Name, b.goType(f.Type), f.Offset)
			end = f.Offset + f.Type.Size
		}
		if at := (end + t.Align - 1) / t.Align * t.Align; at != t.Size {
			fmt.Fprintf(&body, "\t_ [%d]byte\n", t.Size-end)
		}
		fmt.Fprintf(&body, "}\n\n")
	}
	fmt.Fprintf(&body, "// Nothing can be moved unnoticed.\nvar _ = [1]struct{}{}[unsafe.Sizeof(*new(%s))-%d]\n", g.ident, g.root.Size)
	for _, t := range g.order {
		for _, f := range t.Fields {
			if f.Name != "_" {
				fmt.Fprintf(&body, "var _ = [1]struct{}{}[unsafe.Offsetof(new(%s).%s)-%d]\n", g.of[t], f.Name, f.Offset)
			}
		}
	}
	g.Reset()
	g.f("// Code generated by shmem gen go. It is yours to edit: the schema is checked when a box is opened.\n\n")
	g.f("package main\n\nimport (\n")
	for _, i := range []struct{ word, path string }{
		{"atomic.", "sync/atomic"}, {"time.", "time"}, {"unsafe.", "unsafe"},
		{"shmem.", "github.com/shmembox/shmem"}, {"psync.", "github.com/shmembox/shmem/psync"},
	} {
		if bytes.Contains(body.Bytes(), []byte(" "+i.word)) || bytes.Contains(body.Bytes(), []byte("]"+i.word)) || bytes.Contains(body.Bytes(), []byte("["+i.word)) {
			g.f("\t%q\n", i.path)
		}
	}
	g.f(")\n\n")
	g.Write(body.Bytes())
	return format.Source(g.Bytes())
}
