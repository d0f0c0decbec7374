//go:build portable

package sys

import "golang.org/x/sys/unix"

var weakerHere = []string{
	"no kernel tells of a death: waiters look after 10 ms, and every 100 ms at last",
}

// The functions of this file imitate those of macOS.

func rename(from, to string) error { return unix.Rename(from, to) }

func RenameExclusive(from, to string) error {
	return retry(func() error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	})
}

// Allocate writes zeros where the file has no bytes yet. Without room for all of them it has none.
func (fd FD) Allocate(off, n int64) error {
	st, err := fd.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for at := max(off, st.Size); at < off+n; at += int64(len(zeros)) {
		if err := fd.WriteAt(zeros[:min(int64(len(zeros)), off+n-at)], at); err != nil {
			_ = fd.Truncate(st.Size)
			return err
		}
	}
	return nil
}
