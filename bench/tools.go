package main

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed native
var native embed.FS

// prepareTools builds and finds the programs of other languages; missing says what each lacks, and
// why a module is not there.
func prepareTools() (tools, missing map[string]string) {
	tools, missing = map[string]string{}, map[string]string{}
	dir, err := nativeDir()
	if err != nil {
		fail(err)
	}
	for _, b := range []struct{ tool, source, compiler, lacks string }{
		{"c", "posix.c", "gcc -O2 -pthread", "gcc"},
		{"boost", "boost.cpp", "g++ -O2 -pthread -DBOOST_ALL_NO_LIB", "g++ and libboost-dev"},
	} {
		exe := filepath.Join(dir, b.tool)
		if _, err := os.Stat(exe); err == nil {
			tools[b.tool] = exe
			continue
		}
		argv := append(strings.Fields(b.compiler), "-o", exe, filepath.Join(dir, b.source), "-lrt")
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			missing[b.tool] = "not installed: " + b.lacks
			if strings.Contains(string(out), b.source) &&
				!strings.Contains(string(out), "No such file") {
				fail(fmt.Errorf("%s: %s", b.source, out)) // our own fault
			}
			continue
		}
		tools[b.tool] = exe
	}
	if py := firstLine("python3", "-c", "import sys; print(sys.executable)"); py != "" {
		tools["python"] = py + " " + filepath.Join(dir, "peer.py")
	} else {
		missing["python"] = "not installed: python3"
	}
	if p, err := exec.LookPath("redis-server"); err == nil {
		tools["redis"] = p
	} else {
		missing["redis"] = "not installed: redis-server"
	}
	maps.Copy(missing, unserved)
	return tools, missing
}

// nativeDir has the sources, and the programs once they are built: one directory for each version.
func nativeDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	h := sha256.New()
	files, err := native.ReadDir("native")
	for _, f := range files {
		b, _ := native.ReadFile("native/" + f.Name())
		h.Write(b)
	}
	dir := filepath.Join(base, "shmem-bench", fmt.Sprintf("%x", h.Sum(nil)[:8]))
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	for _, f := range files {
		b, _ := native.ReadFile("native/" + f.Name())
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f.Name()), b, 0o644)
		}
	}
	return dir, err
}
