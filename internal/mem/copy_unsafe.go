package mem

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// This file copies between the payload, the undo image and a value of this process, while other
// processes may read or write the shared side. Every aligned word is loaded and stored by one
// access, and no access moves across an atomic access before or after the call. A copy can mix
// words of several writers: the caller validates it by a sequence counter, or holds the lock.
//
// Offsets are those of the mapping, which the caller has checked with At. Parts of a word at the
// ends of a range are copied byte by byte, so that the bytes next to the range do not change. Load
// reads whole words: mapped memory ends with a page.

// word is the size of a word in bytes.
const word = unsafe.Sizeof(uintptr(0))

func loadWord(p unsafe.Pointer) uintptr     { return atomic.LoadUintptr((*uintptr)(p)) }
func storeWord(p unsafe.Pointer, v uintptr) { atomic.StoreUintptr((*uintptr)(p), v) }

func putLocal(b []byte, v uintptr) {
	if word == 8 {
		binary.NativeEndian.PutUint64(b, uint64(v))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(v))
	}
}

func getLocal(b []byte) uintptr {
	if word == 8 {
		return uintptr(binary.NativeEndian.Uint64(b))
	}
	return uintptr(binary.NativeEndian.Uint32(b))
}

// head returns how many bytes of a range come before its first whole word.
func head(off, n uintptr) uintptr { return min(-off&(word-1), n) }

// copyMany copies n bytes, a multiple of 64 and not 0. Both sides are aligned to words.
func copyMany(dst, src unsafe.Pointer, n uintptr) {
	if n >= stringsFrom {
		copyString(dst, src, n)
	} else {
		copyBlocks(dst, src, n)
	}
}

// Copy copies src to dst, which has the same length, while no other goroutine or process uses
// either. It is faster than the builtin copy when it copies much to memory that another process has
// read.
func Copy(dst, src []byte) {
	if n := uintptr(len(src)); n >= stringsFrom {
		_ = dst[n-1]
		copyString(unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src)), n)
		return
	}
	copy(dst, src)
}

// leastString is the least that stringsFrom is: for values of fewer bytes the compiler leaves the
// comparison out.
const leastString = 2048

// Assign is *dst = *src with Copy, of values that do not overlap. It is small enough to be inlined.
func Assign[T any](dst, src *T) {
	if unsafe.Sizeof(*src) >= leastString && unsafe.Sizeof(*src) >= stringsFrom {
		assignLarge(dst, src)
		return
	}
	*(*struct{ v T })(unsafe.Pointer(dst)) = *(*struct{ v T })(unsafe.Pointer(src))
}

// Fetch is *dst = *src of values that do not overlap. Of arrays the compiler does not know that
// they do not, and calls a function. So an array is copied as the field of a struct.
func Fetch[T any](dst, src *T) {
	*(*struct{ v T })(unsafe.Pointer(dst)) = *(*struct{ v T })(unsafe.Pointer(src))
}

func assignLarge[T any](dst, src *T) { Copy(Bytes(dst), Bytes(src)) }

// CopySlice is Copy for values of any type.
func CopySlice[T any](dst, src []T) {
	n := min(len(dst), len(src))
	size := uintptr(n) * unsafe.Sizeof(*(*T)(nil))
	if size < stringsFrom {
		copy(dst, src)
		return
	}
	copyString(unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src)), size)
}

// Prefetch asks for the cache line at p, which the caller reads soon.
func Prefetch[T any](p *T) { prefetch(unsafe.Pointer(p)) }

// PrefetchWrite asks for the cache line at p, which the caller writes soon.
func PrefetchWrite[T any](p *T) { prefetchWrite(unsafe.Pointer(p)) }

// PrefetchAt and PrefetchWriteAt are the same for what is at an offset of the mapping.
func (m *Mapping) PrefetchAt(off int)      { prefetch(unsafe.Add(m.base, off)) }
func (m *Mapping) PrefetchWriteAt(off int) { prefetchWrite(unsafe.Add(m.base, off)) }

// Load copies len(dst) bytes from off to dst, in memory of this process. off is a multiple of 8.
func (m *Mapping) Load(dst []byte, off int) {
	load(unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Add(m.base, off), uintptr(len(dst)))
}

// LoadPart is Load for any offset. It reads the whole words that contain the bytes.
func (m *Mapping) LoadPart(dst []byte, off int) {
	skip := off & int(word-1)
	for p := unsafe.Add(m.base, off-skip); len(dst) > 0; p = unsafe.Add(p, word) {
		var w [8]byte
		putLocal(w[:], loadWord(p))
		dst = dst[copy(dst, w[skip:word]):]
		skip = 0
	}
}

// Store copies src to off.
func (m *Mapping) Store(off int, src []byte) {
	p := unsafe.Add(m.base, off)
	if h := head(uintptr(off), uintptr(len(src))); h > 0 {
		copy(unsafe.Slice((*byte)(p), h), src)
		src, p = src[h:], unsafe.Add(p, h)
	}
	if n := uintptr(len(src)) &^ 63; blocks && n > 0 {
		copyMany(p, unsafe.Pointer(unsafe.SliceData(src)), n)
		src, p = src[n:], unsafe.Add(p, n)
	}
	for ; uintptr(len(src)) >= word; src, p = src[word:], unsafe.Add(p, word) {
		storeWord(p, getLocal(src))
	}
	copy(unsafe.Slice((*byte)(p), len(src)), src)
}

// StoreCell copies src to off, and zero to the bytes behind it up to size. off and size are
// multiples of a word, and size is at least the length of src: whole words are stored.
func (m *Mapping) StoreCell(off int, src []byte, size int) {
	p := unsafe.Add(m.base, off)
	rest := uintptr(size) - uintptr(len(src))&^(word-1) // behind the whole words of src
	if n := uintptr(len(src)) &^ 63; blocks && n > 0 {
		copyMany(p, unsafe.Pointer(unsafe.SliceData(src)), n)
		src, p = src[n:], unsafe.Add(p, n)
	}
	for ; uintptr(len(src)) >= word; src, p = src[word:], unsafe.Add(p, word) {
		storeWord(p, getLocal(src))
	}
	if len(src) > 0 {
		var last [8]byte
		copy(last[:], src)
		storeWord(p, getLocal(last[:]))
		p, rest = unsafe.Add(p, word), rest-word
	}
	for ; rest >= word; p, rest = unsafe.Add(p, word), rest-word {
		storeWord(p, 0)
	}
}

// Clear writes zero to n bytes from off on. off+n is a multiple of a word.
func (m *Mapping) Clear(off, n int) {
	p, rest := unsafe.Add(m.base, off), uintptr(n)
	h := head(uintptr(off), rest)
	clear(unsafe.Slice((*byte)(p), h))
	for p, rest = unsafe.Add(p, h), rest-h; rest >= word; p, rest = unsafe.Add(p, word), rest-word {
		storeWord(p, 0)
	}
}

// Move copies n bytes of the mapping from src to dst. The two ranges do not overlap and have the
// same offset within a word. Move calls reached after every word, if it is not nil.
func (m *Mapping) Move(dst, src, n int, reached func()) {
	d, s, rest := unsafe.Add(m.base, dst), unsafe.Add(m.base, src), uintptr(n)
	bytes := func(n uintptr) {
		copy(unsafe.Slice((*byte)(d), n), unsafe.Slice((*byte)(s), n))
		d, s, rest = unsafe.Add(d, n), unsafe.Add(s, n), rest-n
	}
	bytes(head(uintptr(dst), rest))
	if n := rest &^ 63; blocks && n > 0 && reached == nil {
		copyMany(d, s, n)
		d, s, rest = unsafe.Add(d, n), unsafe.Add(s, n), rest-n
	}
	for ; rest >= word; d, s, rest = unsafe.Add(d, word), unsafe.Add(s, word), rest-word {
		storeWord(d, loadWord(s))
		if reached != nil {
			reached()
		}
	}
	bytes(rest)
}
