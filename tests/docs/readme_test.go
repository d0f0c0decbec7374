package docs_test

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmembox/shmem"
)

// name is that of the box in README's program.
const name = "hello-board"

// TestReadme does what README.md says: its shell blocks one after the other, its program in two
// processes. The clone is a copy of this tree, and the box has a name of this test's.
func TestReadme(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skipf("segments need Linux, this is %s", runtime.GOOS)
	}
	dir := t.TempDir()
	copyTree(t, filepath.Join(dir, "shmem"))
	own := fmt.Sprintf("%s-%d", name, os.Getpid())
	bin := filepath.Join(dir, "program")
	script := "set -e\n"
	for _, b := range parse(t, filepath.Join(root, "README.md")).blocks {
		switch {
		case b.lang == "go" && isWhole(b):
			if !strings.Contains(b.text, name) {
				t.Fatalf("README.md:%d: the program does not open %s", b.line, name)
			}
			source := filepath.Join(dir, "program.go")
			text := strings.ReplaceAll(b.text, name, own)
			if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			script += "cp " + source + " main.go\n"
		case b.lang != "sh" || strings.HasPrefix(b.comment, "sh: not run: "):
		case b.comment == "sh: program":
			text := strings.ReplaceAll(b.text, "go run .", "go build -o "+bin+" .")
			if text == b.text {
				t.Errorf("README.md:%d: the program is not run", b.line)
			}
			script += text
		default:
			script += strings.ReplaceAll(b.text, "git clone https://github.com/shmembox/shmem", ":")
		}
	}
	if err := shell(dir, script); err != nil {
		t.Fatalf("%v\n%s", err, script)
	}
	twoProcesses(t, bin, own)
}

// shell runs a script in which modules are made and built. Nothing is fetched: the modules that
// this repository was built with are in the cache. Without the path in them, the packages that are
// built are cached from run to run.
func shell(dir, script string) error {
	sh := exec.Command("bash", "-c", script)
	sh.Dir = dir
	sh.Env = append(os.Environ(), "GOPROXY=off", "GONOSUMDB=*", "GOWORK=off", "PWD="+dir,
		"GOFLAGS=-mod=mod -trimpath")
	if out, err := sh.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// copyTree copies the tree, as far as it is under version control, to where a clone would be.
func copyTree(t *testing.T, to string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (name == ".git" || name == "bin"):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case !d.Type().IsRegular() || name == ".git":
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

var beat = regexp.MustCompile(`^beat (\d+), the one before by process (\d+)$`)

// twoProcesses runs the program twice at a time and waits until each has seen the other.
func twoProcesses(t *testing.T, bin, box string) {
	var both [2]*exec.Cmd
	var out [2]io.ReadCloser
	for i := range both {
		both[i] = exec.Command(bin)
		both[i].Stderr = os.Stderr
		var err error
		if out[i], err = both[i].StdoutPipe(); err != nil {
			t.Fatal(err)
		}
		if err := both[i].Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = both[i].Process.Kill() }()
	}
	defer time.AfterFunc(time.Minute, func() {
		for _, c := range both {
			_ = c.Process.Kill()
		}
	}).Stop()
	for i, o := range out {
		other := fmt.Sprint(both[1-i].Process.Pid)
		lines := bufio.NewScanner(o)
		for seen := false; !seen; {
			if !lines.Scan() {
				t.Fatalf("process %d has ended without seeing process %s", both[i].Process.Pid, other)
			}
			m := beat.FindStringSubmatch(lines.Text())
			if m == nil {
				t.Fatalf("the program printed %q", lines.Text())
			}
			seen = m[2] == other
		}
	}
	for _, c := range both {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range both {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	if _, err := shmem.Stat("", box); err == nil {
		t.Errorf("%s is still there", box)
	}
}
