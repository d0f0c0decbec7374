package sys

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultDir is the directory of the files that shm_open creates in C.
const DefaultDir = "/dev/shm"

// DiskOnly: see file.go.
const DiskOnly = false

func MakeDefaultDir() error { return nil }

// ErrNoDev is what opening a socket returns.
var ErrNoDev error = unix.ENXIO

// effective makes Faccessat ask for the effective user.
const effective = unix.AT_EACCESS

func OpenPath(path string) (FD, error) {
	return open(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

// procPath returns a path of the open file that does not depend on its name.
func (fd FD) procPath() string { return "/proc/self/fd/" + strconv.Itoa(int(fd)) }

func (fd FD) Path() (string, error) { return os.Readlink(fd.procPath()) }

func MountOf(dir string) (Mount, error) {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &s) }); err != nil {
		return Mount{}, err
	}
	bs := int64(s.Bsize)
	return Mount{
		Type: int64(uint32(s.Type)), Size: int64(s.Blocks) * bs, Avail: int64(s.Bavail) * bs,
		Files: int64(s.Files), Inodes: int64(s.Ffree), ReadOnly: s.Flags&unix.ST_RDONLY != 0,
	}, nil
}

func (fd FD) InMemory() bool {
	var s unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(int(fd), &s) })
	return err == nil && inMemory(int64(uint32(s.Type)))
}

func HasProc() bool {
	var s unix.Stat_t
	return retry(func() error { return unix.Stat("/proc/self/fd", &s) }) == nil
}

func Huge(addr, n uintptr) (bytes int64, err error) {
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0, err
	}
	in := false
	for l := range strings.Lines(string(b)) {
		key, rest, _ := strings.Cut(l, ":")
		f := strings.Fields(rest)
		switch {
		case strings.Contains(key, "-"): // a mapping: from-to
			from, to, _ := strings.Cut(strings.Fields(l)[0], "-")
			a, err1 := strconv.ParseUint(from, 16, 64)
			e, err2 := strconv.ParseUint(to, 16, 64)
			in = err1 == nil && err2 == nil && a >= uint64(addr) && e <= uint64(addr+n)
		case in && len(f) > 0 && (key == "ShmemPmdMapped" || key == "FilePmdMapped" ||
			key == "Shared_Hugetlb"):
			kb, err := strconv.ParseInt(f[0], 10, 64)
			if err != nil {
				return 0, err
			}
			bytes += kb << 10
		}
	}
	return bytes, nil
}

// totalMemory returns the machine's memory in bytes, swap included, 0 if unknown.
func totalMemory() int64 {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return 0
	}
	return int64((uint64(s.Totalram) + uint64(s.Totalswap)) * uint64(s.Unit))
}
