//go:build linux || darwin

package sys

import (
	"io"

	"golang.org/x/sys/unix"
)

func (fd FD) Data(off int64) (start, end int64, err error) {
	start, err = fd.seek(off, unix.SEEK_DATA)
	if err == unix.ENXIO {
		return 0, 0, io.EOF
	}
	if err != nil {
		return 0, 0, err
	}
	end, err = fd.seek(start, unix.SEEK_HOLE)
	return start, end, err
}

func (fd FD) seek(off int64, whence int) (at int64, err error) {
	err = retry(func() (err error) { at, err = unix.Seek(int(fd), off, whence); return err })
	return at, err
}
