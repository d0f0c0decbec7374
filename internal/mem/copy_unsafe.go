package mem

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// Copies between the payload, the undo image and a value of this process, while others may read or
// write the shared side: every aligned word is loaded and stored by one access, and no access moves
// across an atomic one before or after the call. A copy may still mix words of several writers: it is
// for those who validate it by a sequence counter, or hold the lock.
//
// Offsets are those of the mapping; the caller has checked them once by At. Parts of a word at the
// ends of a range are copied byte by byte, which leaves the neighbours alone, but for Load, which
// reads whole words: mapped memory ends on a page.

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

// head is how many bytes of a range come before its first whole word.
func head(off, n uintptr) uintptr { return min(-off&(word-1), n) }

// copyMany copies n bytes, a multiple of 64 and not 0, both sides aligned to words.
func copyMany(dst, src unsafe.Pointer, n uintptr) {
	if n >= stringsFrom {
		copyString(dst, src, n)
	} else {
		copyBlocks(dst, src, n)
	}
}

// Copy copies src to dst, which is as long, where nobody else reads or writes either: it is copy, but
// faster where much goes to memory that another process has read.
func Copy(dst, src []byte) {
	if n := uintptr(len(src)); n >= stringsFrom {
		_ = dst[n-1]
		copyString(unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src)), n)
		return
	}
	copy(dst, src)
}

// Assign is *dst = *src by Copy.
func Assign[T any](dst, src *T) {
	if unsafe.Sizeof(*src) >= stringsFrom {
		Copy(Bytes(dst), Bytes(src))
		return
	}
	*dst = *src
}

// CopySlice is Copy of values.
func CopySlice[T any](dst, src []T) {
	n := min(len(dst), len(src))
	size := uintptr(n) * unsafe.Sizeof(*(*T)(nil))
	if size < stringsFrom {
		copy(dst, src)
		return
	}
	copyString(unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src)), size)
}

// Prefetch asks for the line of *p, to be read soon; nothing is read yet. PrefetchWrite asks for the only copy of it.
func Prefetch[T any](p *T)      { prefetch(unsafe.Pointer(p)) }
func PrefetchWrite[T any](p *T) { prefetchWrite(unsafe.Pointer(p)) }

// PrefetchAt and PrefetchWriteAt are the same for what is at an offset of the mapping.
func (m *Mapping) PrefetchAt(off int)      { prefetch(unsafe.Add(m.base, off)) }
func (m *Mapping) PrefetchWriteAt(off int) { prefetchWrite(unsafe.Add(m.base, off)) }

// Load copies len(dst) bytes from off to memory of this process. off is a multiple of 8.
func (m *Mapping) Load(dst []byte, off int) {
	p := unsafe.Add(m.base, off)
	if n := uintptr(len(dst)) &^ 63; blocks && n > 0 {
		copyMany(unsafe.Pointer(unsafe.SliceData(dst)), p, n)
		dst, p = dst[n:], unsafe.Add(p, n)
	}
	for ; uintptr(len(dst)) >= word; dst, p = dst[word:], unsafe.Add(p, word) {
		putLocal(dst, loadWord(p))
	}
	if len(dst) > 0 {
		var last [8]byte
		putLocal(last[:], loadWord(p))
		copy(dst, last[:])
	}
}

// LoadPart is Load for any offset: it reads the whole words around.
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

// Move copies n bytes from one place of the mapping to another, which do not overlap and lie alike
// in their words. Each word copied is told to reached, if that is not nil.
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
