package gen_test

import (
	"fmt"
	"go/ast"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/format"
	"github.com/shmembox/shmem/internal/gen"
	"github.com/shmembox/shmem/internal/layout"
)

// awkward are names that mean something in one language or another, and names that are none.
var awkward = strings.Fields(`
	type class String FILE lambda None x_ _x __x _X Self self super crate int float double short
	signed char bool true NULL nullptr template this operator new delete and or not xor errno stdin
	EOF EAGAIN F_OK S_IFREG INT_MAX st_mtime linux unix i386 uint8_t uint64_t size_t offsetof memcpy
	printf main Main MAIN mAIN init ctypes struct mmap os time numpy property classmethod len
	bytes VALUE DTYPE SIZE FINGERPRINT Value Box Vec Option Result Err Some Ok Error Reader
	Attachment Segment Schema More Locked u8 u64 usize str Default Clone std core runtime place PARTS
	SCHEMA shmembox shmembox_box shmembox_lock shmembox_type open load store close begin box attach
	version value parts_ type_ Structure _fields_ _pack_ _anonymous_ from_buffer from_buffer_copy mro
	__class__ __init__ __dict__ pad0_ pad1_ Größe Größe2 größe GRÖSSE 温度 변수 имя Ωmega K ﬁne ª
	async await dyn gen union final typeof match case yield raise unsafe string error any rune
	atomic shmem psync nil iota append PolyBox poly Poly POLY`)

// evil are names that end what they stand in, in one language or another.
var evil = []string{
	"*/ EVIL(); /*", `"; EVIL(); "`, `'); EVIL(); ('`, "x int }; func init() { EVIL() }; type y struct { z",
	"// EVIL()", "# EVIL()", "${EVIL}", "{EVIL}", "`EVIL`", `\`, `\u002a/ EVIL()`, "%s%d%n EVIL",
	"a EVIL", "a-EVIL", "1EVIL EVIL", "EVIL; EVIL", `""" EVIL """`, "'''EVIL '''", "??/ EVIL", "a b",
	"a.b", "a,b", "a[0]", "*", "+", "🙂", "é EVIL", "-", "a+", "a-",
}

func number() *format.Type { return &format.Type{Kind: format.Uint32, Size: 4, Align: 4} }

// structOf returns a struct of fields at the next possible offset.
func structOf(name string, fields ...format.Field) *format.Type {
	t := &format.Type{Kind: format.Struct, Name: name, Align: 1}
	end := 0
	for _, f := range fields {
		f.Offset = (end + f.Type.Align - 1) / f.Type.Align * f.Type.Align
		t.Align = max(t.Align, f.Type.Align)
		end = f.Offset + f.Type.Size
		t.Fields = append(t.Fields, f)
	}
	t.Size = max((end+t.Align-1)/t.Align*t.Align, t.Align)
	return t
}

// nested returns a type whose fields, and whose types of fields, have all of these names.
func nested(root string, names []string) *format.Type {
	var fields []format.Field
	for i, n := range names {
		inner := structOf("main."+n, format.Field{Name: n, Type: number()},
			format.Field{Name: fmt.Sprint("other", i), Type: number()})
		fields = append(fields, format.Field{Name: n, Type: inner},
			format.Field{Name: fmt.Sprint("number", i), Type: number()})
	}
	return structOf("main."+root, fields...)
}

// TestAnyName: types and fields may have any name. Names that no Go program can have come from
// segments that were made to do harm. All code compiles, and has nothing of them in it.
func TestAnyName(t *testing.T) {
	var all []*format.Type
	for _, n := range awkward {
		all = append(all, structOf("main."+n, format.Field{Name: n, Type: number()},
			format.Field{Name: "y", Type: structOf("main."+n, format.Field{Name: n, Type: number()})}))
	}
	all = append(all, nested("Poly", awkward), nested("Evil", evil))
	for _, n := range evil {
		all = append(all, structOf(n, format.Field{Name: n, Type: number()}))
	}
	compiles(t, all)
}

// TestRandomSchemas is TestAnyName for types of any shape, packed ones among them.
func TestRandomSchemas(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 9))
	var all []*format.Type
	for len(all) < 40 {
		typ := random(r, 0)
		if typ.Kind != format.Struct {
			continue
		}
		if _, err := format.Decode(typ.AppendBinary(nil)); err != nil {
			t.Fatalf("%s: %v", typ.Declaration(), err)
		}
		all = append(all, typ)
	}
	compiles(t, all)
}

// random returns a type that a segment can hold.
func random(r *rand.Rand, depth int) *format.Type {
	name := func() string {
		switch r.IntN(3) {
		case 0:
			return awkward[r.IntN(len(awkward))]
		case 1:
			return evil[r.IntN(len(evil))]
		}
		return fmt.Sprintf("%c%d", 'a'+rune(r.IntN(26)), r.IntN(4))
	}
	scalar := func() *format.Type {
		k := format.Kind(1 + r.IntN(int(format.Complex128)))
		size := map[format.Kind]int{
			format.Bool: 1, format.Int8: 1, format.Int16: 2, format.Int32: 4, format.Int64: 8,
			format.Uint8: 1, format.Uint16: 2, format.Uint32: 4, format.Uint64: 8, format.Float32: 4,
			format.Float64: 8, format.Complex64: 8, format.Complex128: 16,
			format.Int: 4 << r.IntN(2), format.Uint: 8, format.Uintptr: 8,
		}[k]
		t := &format.Type{Kind: k, Size: size, Align: min(size, 8)}
		if k == format.Complex64 {
			t.Align = 4
		}
		switch {
		case r.IntN(8) == 0:
			t.Align = 1 // another program packed it
		case k == format.Int32 || k == format.Uint64:
			t.Atomic = r.IntN(2) == 0
		}
		return t
	}
	switch n := r.IntN(10); {
	case depth > 3 || n < 4:
		return scalar()
	case n == 4:
		locks := []string{"psync.Mutex", "psync.RWMutex", "psync.Once", "psync." + evil[r.IntN(len(evil))]}
		t := &format.Type{Kind: format.Sync, Name: locks[r.IntN(len(locks))], Size: 64, Align: 16}
		if size, align := layout.LockSize(t.Name); size != 0 {
			t.Size, t.Align = size, align
		}
		return t
	case n < 7:
		e := random(r, depth+1)
		n := 1 + r.IntN(3)
		return &format.Type{Kind: format.Array, Name: name(), Size: n * e.Size, Align: e.Align, Len: n, Elem: e}
	}
	t := &format.Type{Kind: format.Struct, Name: []string{"", "main.", "shmem.Text[", "shmem.Vec["}[r.IntN(4)] + name(), Align: 1}
	end, seen := 0, map[string]bool{"_": true, "": true}
	for range 1 + r.IntN(5) {
		f := format.Field{Name: name(), Type: random(r, depth+1)}
		for seen[f.Name] {
			f.Name += name()
		}
		seen[f.Name] = true
		end += r.IntN(3)
		f.Offset = (end + f.Type.Align - 1) / f.Type.Align * f.Type.Align
		end = f.Offset + f.Type.Size
		t.Align = max(t.Align, f.Type.Align)
		t.Fields = append(t.Fields, f)
	}
	t.Size = (end + r.IntN(9) + t.Align - 1) / t.Align * t.Align
	return t
}

// A build collects code of many types, to be compiled as one program in each language: compilers
// take their time.
type build struct {
	t         *testing.T
	dir       string
	c, py, rs strings.Builder
	idents    map[string]bool
}

// withoutRuntime cuts out what is the same in the code of all types, a thousand lines.
func withoutRuntime(lang, code string) string {
	cut := func(from, to string) {
		before, rest, found := strings.Cut(code, from)
		if !found {
			return
		}
		_, after, _ := strings.Cut(rest, to)
		code = before + after
	}
	switch lang {
	case "python":
		code, _, _ = strings.Cut(code, "\n# ---- ShmemBox runtime")
	case "c":
		cut("/* ---- ShmemBox runtime", "#endif /* SHMEMBOX_RUNTIME */")
	case "rust":
		cut("pub use self::runtime", "\n")
		code, _, _ = strings.Cut(code, "\nmod runtime {")
	}
	return code
}

// compiles compiles the code for all types. All but a few modules are compiled without the runtime.
func compiles(t *testing.T, all []*format.Type) {
	if testing.Short() {
		t.Skip("compilers take their time")
	}
	b := &build{t: t, dir: t.TempDir(), idents: map[string]bool{}}
	b.py.WriteString("import sys\nsys.path.insert(0, sys.argv[1])\n")
	b.rs.WriteString("#![deny(warnings)]\n#![allow(mixed_script_confusables)]\n")
	for i, typ := range all {
		for _, lang := range []string{"c", "python", "rust"} {
			code, err := gen.Generate(lang, typ, "")
			if err != nil {
				t.Fatalf("%s of %s: %v", lang, typ, err)
			}
			clean(t, lang, withoutRuntime(lang, string(code)))
			b.add(i, lang, typ, string(code))
		}
		goCode(t, typ)
	}
	b.run()
}

func (b *build) write(name, text string) string {
	p := filepath.Join(b.dir, name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *build) add(i int, lang string, typ *format.Type, code string) {
	if i > 1 {
		code = withoutRuntime(lang, code)
	}
	switch lang {
	case "c":
		ident := regexp.MustCompile(`#ifndef (\S+)_SHMEM_H`).FindStringSubmatch(code)[1]
		if b.idents[ident] { // two types of one name in one program: --as
			other, err := gen.Generate(lang, typ, fmt.Sprintf("t%d_%s", i, ident))
			if err != nil {
				b.t.Fatal(err)
			}
			code = withoutRuntime(lang, string(other))
		}
		b.idents[ident] = true
		b.write(fmt.Sprintf("t%d.h", i), code)
		fmt.Fprintf(&b.c, "#include \"t%d.h\"\n", i)
	case "python":
		b.write(fmt.Sprintf("t%d.py", i), code)
		fmt.Fprintf(&b.py, "import t%d\nt%[1]d.VALUE.from_buffer_copy(bytes(t%[1]d.SIZE))\n", i)
	case "rust":
		b.write(fmt.Sprintf("t%d.rs", i), code)
		fmt.Fprintf(&b.rs, "pub mod t%d;\n", i)
	}
}

func (b *build) run() {
	b.write("all.h", b.c.String())
	main := "#include \"all.h\"\nextern int x;\n"
	strict := []string{"-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"}
	var wg sync.WaitGroup
	for _, args := range [][]string{
		append([]string{"gcc", b.write("main.c", main), "-std=gnu11"}, strict...),
		append([]string{"g++", b.write("main.cc", main), "-std=c++17"}, strict...),
		{"python3", "-B", b.write("all.py", b.py.String()), b.dir},
		{"rustc", "--edition=2021", "--crate-type=lib", "--emit=metadata", "--out-dir", b.dir,
			b.write("all.rs", b.rs.String())},
	} {
		if _, err := exec.LookPath(args[0]); err != nil {
			b.t.Skipf("%s is not installed", args[0])
		}
		wg.Go(func() {
			start := time.Now()
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				b.t.Errorf("%s: %v\n%.6000s", args[0], err, out)
			}
			b.t.Logf("%s: %v", args[0], time.Since(start))
		})
	}
	wg.Wait()
}

var (
	cTexts  = regexp.MustCompile(`(?s)/\*.*?\*/|"(\\.|[^"\\\n])*"`)
	pyTexts = regexp.MustCompile(`(?s)""".*?"""|"(\\.|[^"\\\n])*"|'(\\.|[^'\\\n])*'|#[^\n]*`)
	rsTexts = regexp.MustCompile(`"(\\.|[^"\\])*"|//[^\n]*`)
	inject  = regexp.MustCompile(`\bEVIL\b`)
	letters = regexp.MustCompile(`[^\x00-\x7f]`)
)

// clean fails if the code has a name of a schema other than in a comment, a text or an identifier.
func clean(t *testing.T, lang, code string) {
	t.Helper()
	texts := map[string]*regexp.Regexp{"c": cTexts, "python": pyTexts, "rust": rsTexts}[lang]
	rest := texts.ReplaceAllString(code, " ")
	if at := inject.FindStringIndex(rest); at != nil {
		t.Errorf("%s: a name became code: %s", lang, rest[max(0, at[0]-60):min(len(rest), at[1]+60)])
	}
	for _, r := range letters.FindAllString(rest, -1) {
		if !strings.Contains("Größegrößeé温度변수ÖÉ", r) {
			t.Errorf("%s: the code has a %q", lang, r)
			break
		}
	}
}

// goCode checks that Go code is declarations of types and assertions, and that it type-checks.
func goCode(t *testing.T, typ *format.Type) {
	t.Helper()
	code, err := gen.Generate("go", typ, "")
	if err != nil {
		if strings.Contains(err.Error(), "not aligned") || strings.Contains(err.Error(), "word size") ||
			strings.Contains(err.Error(), "no lock") {
			return // Go has no such type
		}
		t.Errorf("go of %s: %v", typ, err)
		return
	}
	c, err := goTypes()
	if err != nil {
		t.Fatal(err)
	}
	file, err := c.check(code)
	if err != nil {
		t.Errorf("go of %s: %v\n%s", typ, err, code)
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			t.Errorf("go of %s has a function %s", typ, f.Name)
		}
	}
}

// TestPythonNames: each global name that the code for Python uses, in whatever function, exists.
func TestPythonNames(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skipf("python3 is not installed")
	}
	topic, err := layout.NewTopic(number(), 7, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []*format.Type{topic.Type, structOf("main.T", format.Field{Name: "N", Type: number()})} {
		code, err := gen.Generate("python", typ, "T")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "t.py")
		if err := os.WriteFile(path, code, 0o600); err != nil {
			t.Fatal(err)
		}
		const check = `import builtins, dis, sys, types
text = open(sys.argv[1]).read()
names = {"__name__": "t"}
code = compile(text, "t.py", "exec")
exec(code, names)
def walk(c):
    for i in dis.get_instructions(c):
        if i.opname == "LOAD_GLOBAL" and i.argval not in names and not hasattr(builtins, i.argval):
            print(c.co_name, "uses", i.argval)
    for k in c.co_consts:
        if isinstance(k, types.CodeType):
            walk(k)
walk(code)`
		if out, err := exec.Command("python3", "-B", "-c", check, path).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v %s", err, out)
		}
	}
}
