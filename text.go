package shmem

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/shmembox/shmem/internal/mem"
)

// A Text is a string of limited length in shared memory: Text[[32]byte] holds up to 32 bytes. It is
// laid out as C does it, as A alone: what is not used is zero, and a full one has no terminator.
// The zero value is the empty text. Two texts are == if they say the same.
//
// A is an array of bytes. Like any other memory a Text needs synchronisation when others change it;
// half-changed it may read as a mixture, and nothing worse.
type Text[A any] struct {
	b A
}

// TextOf is a Text that says s.
func TextOf[A any](s string) (Text[A], error) {
	var t Text[A]
	err := t.Set(s)
	return t, err
}

func (t *Text[A]) bytes() []byte { return mem.Elements[byte](&t.b) }

// Set makes t say s. If s does not fit, or has a NUL byte, t is unchanged.
func (t *Text[A]) Set(s string) error {
	b := t.bytes()
	if len(s) > len(b) {
		return fmt.Errorf("shmem: a text of %d bytes does not fit into %d", len(s), len(b))
	}
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("shmem: a text cannot have a NUL byte: %q", s)
	}
	clear(b[copy(b, s):])
	return nil
}

// String is what t says.
func (t Text[A]) String() string {
	b := t.bytes()
	if n := bytes.IndexByte(b, 0); n >= 0 {
		b = b[:n]
	}
	return string(b)
}

// Len is the length of what t says, in bytes.
func (t *Text[A]) Len() int {
	b := t.bytes()
	if n := bytes.IndexByte(b, 0); n >= 0 {
		return n
	}
	return len(b)
}

// Cap is how many bytes fit.
func (t *Text[A]) Cap() int { return len(t.bytes()) }

// MarshalText gives what t says, so that JSON has it as a string.
func (t Text[A]) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is Set.
func (t *Text[A]) UnmarshalText(b []byte) error { return t.Set(string(b)) }
