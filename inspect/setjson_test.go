package inspect_test

import (
	"bytes"
	"testing"

	"github.com/shmembox/shmem/inspect"
)

// TestSetJSON: a value takes what it prints, and a type what it encodes; what is no type is refused.
func TestSetJSON(t *testing.T) {
	type inner struct {
		N    uint64
		Text [4]byte
		F    float64
	}
	typ, err := inspect.TypeFor[inner]()
	if err != nil {
		t.Fatal(err)
	}
	encoded, _ := typ.AppendBinary(nil)
	again, err := inspect.DecodeType(encoded)
	if err != nil || again.Fingerprint() != typ.Fingerprint() {
		t.Fatal(err)
	}
	if _, err := inspect.DecodeType(encoded[1:]); err == nil {
		t.Error("what is no type is decoded")
	}
	from, to := make([]byte, typ.Size()), make([]byte, typ.Size())
	for i := range 8 {
		from[i] = 0xff
	}
	from[8], from[9] = 1, 200
	v, err := typ.Of(from)
	if err != nil {
		t.Fatal(err)
	}
	w, err := again.Of(to)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := v.WriteJSON(&text, ""); err != nil {
		t.Fatal(err)
	}
	if err := w.SetJSON(text.Bytes()); err != nil || !bytes.Equal(from, to) {
		t.Errorf("%s: %x, want %x (%v)", text.Bytes(), to, from, err)
	}
	for _, bad := range []string{"", "{", "{} {}", "[]", `{"N":1.5}`, `{"X":1}`} {
		if err := w.SetJSON([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
