package inspect_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/shmemtest"
)

// TestFate: the sentence depends on the state and on the number of processes.
func TestFate(t *testing.T) {
	dir := shmemtest.Dir(t)
	fate := func(name string) string {
		st, err := look(t, dir, name).Status()
		if err != nil {
			t.Fatal(err)
		}
		return st.Fate
	}
	want := func(name, want string) {
		t.Helper()
		if got := fate(name); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	o := &shmem.Options{Dir: dir}
	var boxes []*shmem.Box[uint64]
	for n := range 3 {
		b, err := shmem.Open[uint64]("live", o)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		boxes = append(boxes, b)
		want("live", []string{"it is garbage", "the other process attached goes on",
			"the 2 others attached go on"}[n])
	}
	if err := boxes[0].Leak(); err != nil {
		t.Fatal(err)
	}
	want("live", "it has no owner")
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("foreign"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("file", "a file of another program")
	if err := errors.Join(shmem.Remove(dir, "live"), shmem.Remove(dir, "file")); err != nil {
		t.Error(err)
	}
}
