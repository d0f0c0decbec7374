package shmem

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/shmembox/shmem/internal/mem"
)

// A Text is a string of limited length in shared memory: Text[[32]byte] holds up to 32 bytes. A is
// an array of bytes; a box of another A is ErrBadType. A Text is laid out as C does it, as A alone:
// unused bytes are zero, and a full Text has no terminator. The zero value is the empty text. Two
// texts are == if their strings are.
//
// Like any other memory a Text needs synchronisation when other goroutines or processes change it.
// Without, it may read as a mixture of two strings, and nothing worse.
type Text[A any] struct {
	b A
}

func (t *Text[A]) bytes() []byte { return mem.Elements[byte](&t.b) }

// Set sets t to s. If s does not fit or has a NUL byte, t is unchanged, and the error is an *Error
// that wraps no sentinel.
func (t *Text[A]) Set(s string) error {
	b := t.bytes()
	if len(s) > len(b) {
		return public("text set", "",
			fmt.Errorf("a text of %d bytes does not fit into %d", len(s), len(b)))
	}
	if strings.IndexByte(s, 0) >= 0 {
		return public("text set", "", fmt.Errorf("a text cannot have a NUL byte: %q", s))
	}
	clear(b[copy(b, s):])
	return nil
}

// String returns the text.
func (t Text[A]) String() string {
	b := t.bytes()
	if n := bytes.IndexByte(b, 0); n >= 0 {
		b = b[:n]
	}
	return string(b)
}

// Len returns the length of the text in bytes.
func (t *Text[A]) Len() int {
	b := t.bytes()
	if n := bytes.IndexByte(b, 0); n >= 0 {
		return n
	}
	return len(b)
}

// Cap returns how many bytes fit.
func (t *Text[A]) Cap() int { return len(t.bytes()) }

// MarshalText returns the text, which is a string in JSON. The error is always nil.
func (t Text[A]) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText sets t as Set does.
func (t *Text[A]) UnmarshalText(b []byte) error { return t.Set(string(b)) }
