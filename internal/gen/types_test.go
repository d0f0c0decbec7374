package gen_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
)

// A goChecker type-checks generated Go code.
type goChecker struct {
	fset *token.FileSet
	conf types.Config
}

// goTypes is made once: it reads the types of the packages that generated code imports.
var goTypes = sync.OnceValues(func() (*goChecker, error) {
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}",
		"sync/atomic", "time", "github.com/shmembox/shmem", "github.com/shmembox/shmem/psync").Output()
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	c := &goChecker{fset: token.NewFileSet()}
	c.conf.Sizes = types.SizesFor("gc", runtime.GOARCH)
	c.conf.Importer = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(files[path])
	})
	return c, err
})

// check parses and type-checks a file, its assertions on sizes and offsets too.
func (c *goChecker) check(code []byte) (*ast.File, error) {
	file, err := parser.ParseFile(c.fset, "generated.go", code, parser.SkipObjectResolution)
	if err == nil {
		_, err = c.conf.Check("main", c.fset, []*ast.File{file}, nil)
	}
	return file, err
}
