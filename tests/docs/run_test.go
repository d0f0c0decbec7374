package docs_test

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestRunBlocks runs the blocks that are tests, in a module of their own.
func TestRunBlocks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skipf("segments need Linux, this is %s", runtime.GOOS)
	}
	c := newChecker(t)
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir, n := t.TempDir(), 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if b.comment != runComment {
				continue
			}
			files, _, err := c.parse(b)
			if err != nil {
				t.Fatal(err)
			}
			n++
			sub := filepath.Join(dir, fmt.Sprint("block", n))
			if err := os.Mkdir(sub, 0o700); err != nil {
				t.Fatal(err)
			}
			for i, f := range files {
				var text bytes.Buffer
				if err := format.Node(&text, c.fset, f); err != nil {
					t.Fatal(err)
				}
				name := filepath.Join(sub, fmt.Sprintf("file%d_test.go", i))
				if err := os.WriteFile(name, text.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if n == 0 {
		t.Fatal("no document has a test that is run")
	}
	err = shell(dir, fmt.Sprintf("go mod init docs && "+
		"go mod edit -require=%s@v0.0.0 -replace=%s=%s && "+
		"go mod tidy && go test ./...", module, module, top))
	if err != nil {
		t.Error(err)
	}
}
