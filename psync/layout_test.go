package psync_test

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/psync"
)

// lockLayouts says where package layout has each field of each lock. The Go structs are compared
// with it field by field: one that moves, grows, or is in no list fails the test.
var lockLayouts = []struct {
	typ    reflect.Type
	size   int
	fields map[string]int
}{
	{reflect.TypeFor[psync.Mutex](), layout.MutexSize, map[string]int{
		"w.Word": layout.MutexWord, "w.Armed": layout.MutexArmed,
	}},
	{reflect.TypeFor[psync.RWMutex](), layout.RWMutexSize, map[string]int{
		"w.Word": layout.RWMutexWord, "w.Armed": layout.RWMutexArmed,
		"drained": layout.RWMutexDrained,
		fmt.Sprintf("marks[%d]", layout.RWMutexReaders): layout.RWMutexMarks,
	}},
	{reflect.TypeFor[psync.Semaphore](), layout.SemaphoreSize, map[string]int{
		"w.Word": layout.SemaphoreWord, "w.Armed": layout.SemaphoreArmed,
		"limit": layout.SemaphoreLimit, "armed": layout.SemaphoreFreed,
		"reserved": layout.SemaphoreReserved, "waited": layout.SemaphoreWaited,
		fmt.Sprintf("held[%d]", layout.SemaphoreHolders): layout.SemaphoreHolds,
	}},
	{reflect.TypeFor[psync.Event](), layout.EventSize, map[string]int{
		"state": layout.EventState, "armed": layout.EventArmed,
	}},
	{reflect.TypeFor[psync.Cond](), layout.CondSize, map[string]int{
		"count": layout.CondCount, "armed": layout.CondArmed,
	}},
	{reflect.TypeFor[psync.Once](), layout.OnceSize, map[string]int{
		"w.Word": layout.OnceWord, "w.Armed": layout.OnceArmed, "done": layout.OnceDone,
	}},
}

// TestLayout compares the Go structs with package layout.
func TestLayout(t *testing.T) {
	for _, l := range lockLayouts {
		if int(l.typ.Size()) != l.size {
			t.Errorf("%v has %d bytes, package layout says %d", l.typ, l.typ.Size(), l.size)
		}
		size, align := layout.LockSize(l.typ.String())
		if size != int(l.typ.Size()) || align != l.typ.Align() {
			t.Errorf("%v has %d bytes aligned to %d, LockSize says %d, %d", l.typ, l.typ.Size(),
				l.typ.Align(), size, align)
		}
		if got := wordsOf(l.typ); !maps.Equal(got, l.fields) {
			t.Errorf("%v:\n  has                 %v\n  package layout says %v", l.typ, got,
				l.fields)
		}
		for _, off := range layout.Armed(l.typ.String()) {
			if !slices.Contains(slices.Collect(maps.Values(l.fields)), off) {
				t.Errorf("%v has no word at %d, where package layout has an armed word", l.typ, off)
			}
		}
	}
}

// wordsOf returns the offset of each word of a lock type, by its path. Spare words have no name and
// are left out.
func wordsOf(typ reflect.Type) map[string]int {
	words := map[string]int{}
	collectWords(typ, "", 0, words)
	return words
}

func collectWords(typ reflect.Type, path string, off int, words map[string]int) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		at, name := off+int(f.Offset), strings.TrimPrefix(path+"."+f.Name, ".")
		switch {
		case f.Name == "_" || f.Type.Size() == 0:
		case f.Type.PkgPath() == "sync/atomic":
			words[name] = at
		case f.Type.Kind() == reflect.Array && f.Type.Elem().Size() == layout.EntrySize:
			words[fmt.Sprintf("%s[%d]", name, f.Type.Len())] = at
		case f.Type.Kind() == reflect.Struct:
			collectWords(f.Type, name, at, words)
		default:
			words[name+" of unknown type "+f.Type.String()] = at
		}
	}
}

// TestLayoutDocs compares package layout with the table of locks in docs/format.md.
func TestLayoutDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lockLayouts {
		row := regexp.MustCompile(`(?m)^\| ` + l.typ.Name() + ` \| (\d+)`)
		var got []int
		for _, m := range row.FindAllSubmatch(text, -1) {
			n, _ := strconv.Atoi(string(m[1]))
			got = append(got, n)
		}
		want := slices.Sorted(maps.Values(l.fields))
		if !slices.Equal(got, want) {
			t.Errorf("docs/format.md has words of %v at %v, package layout at %v", l.typ, got, want)
		}
	}
}
