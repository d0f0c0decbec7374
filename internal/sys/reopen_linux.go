//go:build !portable

package sys

func (fd FD) Reopen(write bool) (FD, error) { return OpenAny(fd.procPath(), write) }
