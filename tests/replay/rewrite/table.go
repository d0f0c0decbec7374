package rewrite

import "github.com/shmembox/shmem/tests/flaws"

const (
	module = "github.com/shmembox/shmem"
	shims  = module + "/tests/replay/shim/"
	world  = module + "/tests/replay/world"
	name   = "replayworld" // by which rewritten files import package world

	copyFile = "internal/mem/copy_unsafe.go"
)

// untouched are the packages of the library that run as they are: they share nothing between
// processes, and nothing in them waits.
var untouched = []string{
	module + "/internal/errs",
	module + "/internal/format",
	module + "/internal/layout",
	module + "/internal/step",
	module + "/tests/", // the simulator itself
}

// dropped are files that the library proper does not use.
var dropped = []string{
	"internal/sys/holes.go",
	"internal/sys/holes_unix.go",
	"internal/sys/term_linux.go",
}

// replaced are the packages that the library imports, and what it imports in their place. A shim
// has what the library uses, under the same names: what it does not have is an error of the
// compiler, with file and line.
var replaced = map[string]string{
	"context":               shims + "context",
	"crypto/rand":           shims + "crand",
	"golang.org/x/sys/unix": shims + "unix",
	"maps":                  shims + "maps",
	"math/rand/v2":          shims + "rand",
	"os":                    shims + "os",
	"runtime":               shims + "runtime",
	"sync":                  shims + "sync",
	"sync/atomic":           shims + "atomic",
	"time":                  shims + "time",
}

// settable are package variables that scenarios set (world.Config.Vars), although the library never
// changes them.
var settable = []string{
	"internal/wait.backstop",
	"internal/wait.maxAlone",
	"internal/sys.AvoidNameless",
	"rpc.trusted",
}

// An Edit replaces a piece of text in a file, as a flaw does.
type Edit = flaws.Edit

// adjusted are the edits that every build needs.
var adjusted = []Edit{
	{ // The schema knows an atomic by the path of its package.
		File: "internal/format/walk.go",
		Old:  `case "sync/atomic":`,
		New:  `case "sync/atomic", "` + shims + `atomic":`,
	},
	{ // Named steps stand in traces.
		File: "internal/step/step.go",
		Old:  "package step\n\n",
		New:  "package step; import replayworld \"" + world + "\"\n\n",
	},
	{
		File: "internal/step/step.go",
		Old:  "func Reach(p Point) {",
		New:  "func Reach(p Point) { replayworld.Named(string(p));",
	},
	{ // Copies by plain loads and stores are points.
		File: copyFile,
		Old:  "package mem\n\n",
		New:  "package mem; import replayworld \"" + world + "\"\n\n",
	},
	{File: copyFile, Old: "func Copy(dst, src []byte) {", New: "func Copy(dst, src []byte) { replayworld.Point();"},
	{File: copyFile, Old: "func Assign[T any](dst, src *T) {", New: "func Assign[T any](dst, src *T) { replayworld.Point();"},
	{File: copyFile, Old: "func CopySlice[T any](dst, src []T) {", New: "func CopySlice[T any](dst, src []T) { replayworld.Point();"},
	{ // A spinning loop lets others go on.
		File: "internal/wait/pause_other.go",
		Old:  `func pause(uint32) {}`,
		New:  `import "` + world + `"` + "\n\nfunc pause(n uint32) { world.Relax(25 * int64(n)) }",
	},
}

// faster are edits that make runs shorter and change nothing else. One whose old text is gone is left
// out, and a test says so.
var faster = []Edit{
	// A simulated process has few mappings: the table of its arena is small.
	{File: "internal/mem/arena_unsafe.go", Old: "topBits  = 2 + 12*wide", New: "topBits  = 6"},
	{File: "internal/mem/arena_unsafe.go", Old: "leafBits = 12 ", New: "leafBits = 4 "},
	{File: "internal/mem/arena_unsafe.go", Old: "idBits   = 14 + 6*wide", New: "idBits   = 8"},
	// What is tried again and again, before it rests, is so often enough.
	{File: "internal/stream/backoff.go", Old: "const Patience = 256", New: "const Patience = 4"},
}

// machine is an architecture for which the library has no code of its own: its files are built.
const machine = "riscv64"
