//go:build linux || darwin

package sys

import (
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func GroupID(name string) (id uint64, ok bool) {
	b, err := os.ReadFile("/etc/group")
	if err != nil {
		return 0, false
	}
	for l := range strings.SplitSeq(string(b), "\n") {
		f := strings.Split(l, ":") // name, password, id, members
		if len(f) >= 3 && f[0] == name {
			id, err := strconv.ParseUint(f[2], 10, 32)
			return id, err == nil
		}
	}
	return 0, false
}

func MayUnlink(dir string, file FD) error {
	err := retry(func() error {
		return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, effective)
	})
	if err != nil {
		return err
	}
	d, err := Lstat(dir)
	if err != nil {
		return err
	}
	if d.Mode&fs.ModeSticky != 0 && !file.Owned() && !ownsDir(dir, d) {
		return unix.EPERM
	}
	return nil
}

func ownsDir(dir string, st Stat) bool {
	me := uint32(os.Geteuid())
	if st.UID != me || me != OverflowUID() {
		return st.UID == me
	}
	fd, err := open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return false
	}
	defer fd.Close()
	return fd.Owned()
}
