package gen_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/gen"
	"github.com/shmembox/shmem/internal/layout"
	"github.com/shmembox/shmem/psync"
)

type pair[A, B any] struct {
	First  A
	Second B
}

// odd has everything that is awkward in one language or another.
type odd struct {
	Type   int8 // keywords
	class  int
	match  uint
	Self   uintptr
	Flag   bool
	On     atomic.Bool
	C64    complex64
	C128   complex128
	Cube   [2][3][4]int16
	Texts  [2]shmem.Text[[5]byte]
	List   shmem.Vec[pair[uint8, float32], [3]pair[uint8, float32]]
	P1     pair[uint8, float32]
	P2     pair[uint64, [3]bool]
	Anon   struct{ X, Y uint16 }
	Many   [2]struct{ N atomic.Int64 }
	Mu     psync.Mutex
	RW     psync.RWMutex
	Sem    [2]psync.Semaphore
	D      time.Duration
	Größe  uint32
	Tail   uint8
	_      uint64
	Ptr    atomic.Uintptr
	pad0_  uint8
	end    [3]byte
	NoMore struct{}
}

func typeOf(t *testing.T, v any) *format.Type {
	typ, err := format.Of(reflect.TypeOf(v).Elem())
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

// editions are those of Rust that a type is compiled in: the first and the newest one. TestAnyName
// has another.
var editions = map[string]string{"odd": "2015", "array": "2024"}

// TestCompiles: the generated code compiles, so its assertions hold.
func TestCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("compilers take their time")
	}
	_ = new(odd).unused()
	dir := t.TempDir()
	for name, typ := range map[string]*format.Type{"odd": typeOf(t, (*odd)(nil)),
		"array": typeOf(t, (*[5]uint16)(nil)), "number": typeOf(t, (*uint64)(nil))} {
		ident := strings.ToUpper(name[:1]) + name[1:]
		file := func(lang, ext, more string) string {
			code, err := gen.Generate(lang, typ, ident)
			if err != nil {
				t.Fatal(err)
			}
			p := filepath.Join(dir, name+ext)
			if err := os.WriteFile(p, []byte(string(code)+more), 0o600); err != nil {
				t.Fatal(err)
			}
			return p
		}
		for _, c := range []struct{ tool, lang, ext, more, args string }{
			{"gcc", "c", ".h", "", "-std=gnu11 -Wall -Wextra -Werror -fsyntax-only -x c"},
			{"python3", "python", ".py", "", "-B"},
			{"rustc", "rust", ".rs", "",
				"--edition=" + editions[name] + " --crate-type=lib --emit=metadata -A mixed_script_confusables --out-dir " + dir},
			{"go", "go", ".go", "\nfunc main() {}\n", "vet"},
		} {
			if name == "number" && c.lang != "c" {
				continue // as an array
			}
			t.Run(name+"/"+c.lang, func(t *testing.T) {
				bin, err := exec.LookPath(c.tool)
				if err != nil {
					t.Skipf("%s is not installed", c.tool)
				}
				cmd := exec.Command(bin,
					append(strings.Fields(c.args), file(c.lang, c.ext, c.more))...)
				out, err := cmd.CombinedOutput()
				if strings.Contains(string(out), "argument for `--edition` must be") {
					return // an older compiler
				}
				if err != nil {
					t.Errorf("%v: %v\n%s", cmd, err, out)
				} else if len(out) > 0 {
					t.Logf("%s", out)
				}
			})
		}
	}
}

// unused uses the fields that exist for their names only.
func (o *odd) unused() int { return o.class + int(o.match) + int(o.pad0_) + len(o.end) }

// TestRefused: Generate fails for what it has no code for, and does not forget the fingerprint.
func TestRefused(t *testing.T) {
	typ := typeOf(t, (*uint64)(nil))
	for _, c := range [][2]string{{"cobol", ""}, {"c", "no good"}} {
		if _, err := gen.Generate(c[0], typ, c[1]); err == nil {
			t.Errorf("Generate(%q, %q) succeeds", c[0], c[1])
		}
	}
	type entry struct {
		N uint32
		A atomic.Uint32
	}
	if _, err := gen.Generate("c", typeOf(t, (*[1 << 15]entry)(nil)), ""); err == nil ||
		!strings.Contains(err.Error(), "too many places") {
		t.Errorf("a value in 32768 pieces: %v", err)
	}
	for _, lang := range []string{"c", "python", "rust"} {
		code, err := gen.Generate(lang, typeOf(t, (*odd)(nil)), "")
		if err != nil || !strings.Contains(strings.ToLower(string(code)),
			fmt.Sprintf("%016x", typeOf(t, (*odd)(nil)).Fingerprint())) {
			t.Errorf("%s: the fingerprint is missing (%v)", lang, err)
		}
	}
}

// TestStreams: there is no code that stores into a queue or topic.
func TestStreams(t *testing.T) {
	item := &format.Type{Kind: format.Struct, Name: "main.Job", Size: 8, Align: 8,
		Fields: []format.Field{{Name: "N", Type: typeOf(t, (*uint64)(nil))}}}
	stream := func(name, first, last string) *format.Type {
		return &format.Type{Kind: format.Struct, Name: name, Size: 24, Align: 8,
			Fields: []format.Field{
				{Name: first, Type: typeOf(t, (*struct{ Tail atomic.Uint64 })(nil))},
				{Name: last, Offset: 8, Type: &format.Type{Kind: format.Array, Len: 2, Elem: item,
					Size: 16, Align: 8}},
			}}
	}
	for _, c := range []struct {
		lang, want string
		typ        *format.Type
	}{
		{"c", "queue.Attach[main.Job]", stream("queue.Queue", "Many", "Items")},
		{"go", "queue.Attach[main.Job]", stream("queue.Queue", "Single", "Items")},
		{"python", "shmem pump", stream("queue.Bytes", "Many", "Data")},
		{"rust", "topic.Attach[main.Job]", stream("topic.Topic", "Topic", "Items")},
		{"c", "gen python", stream("topic.Topic", "Topic", "Items")},
	} {
		if _, err := gen.Generate(c.lang, c.typ, ""); !errors.Is(err, gen.ErrStream) ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of a %s: %v, want %s", c.lang, c.typ.Name, err, c.want)
		}
	}
	code, err := gen.Generate("go", stream("topic.Topic", "Topic", "Items"), "")
	if err != nil || !strings.Contains(string(code), "type Job struct") ||
		strings.Contains(string(code), "Items") {
		t.Errorf("go of a topic: %v\n%s", err, code)
	}
	// A box whose type only has that name is a box like any other.
	if _, err := gen.Generate("c", stream("queue.Queue", "Mine", "Items"), ""); err != nil {
		t.Error(err)
	}
}

// TestRuntimeNumbers compares the offsets that the runtimes have as numbers with package format,
// and the hash of wait buckets with package layout.
func TestRuntimeNumbers(t *testing.T) {
	offsets := map[string]int{
		"OWNER": format.OffOwner, "HIGH": format.OffSlotHigh, "LOCK": format.OffLock,
		"LOCK_ARMED": format.OffLockArmed, "SEQ": format.OffSeq, "SEQ_ARMED": format.OffSeqArmed,
	}
	for file, form := range map[string]string{"runtime.h": `#define SHMEMBOX_%s (\d+)`,
		"runtime.rs": `const %s: usize = (\d+);`} {
		text := readFile(t, file)
		for name, want := range offsets {
			m := regexp.MustCompile(fmt.Sprintf(form, name)).FindStringSubmatch(text)
			if m == nil || m[1] != strconv.Itoa(want) {
				t.Errorf("%s has %s at %v, package format at %d", file, name, m, want)
			}
		}
	}
	list := fmt.Sprintf("_OWNER, _HIGH, _LOCK, _LOCK_ARMED, _SEQ, _SEQ_ARMED = %d, %d, %d, %d, %d, %d\n",
		offsets["OWNER"], offsets["HIGH"], offsets["LOCK"], offsets["LOCK_ARMED"], offsets["SEQ"],
		offsets["SEQ_ARMED"])
	if !strings.Contains(readFile(t, "runtime.py"), list) {
		t.Errorf("runtime.py has not %s", list)
	}
	hash := fmt.Sprintf("%X", uint32(layout.BucketFactor))
	for _, file := range []string{"runtime.h", "runtime.py", "runtime.rs"} {
		if !strings.Contains(strings.ReplaceAll(readFile(t, file), "_", ""), hash) {
			t.Errorf("%s hashes with another factor than %s", file, hash)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
