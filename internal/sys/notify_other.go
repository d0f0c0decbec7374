//go:build !linux

package sys

import "errors"

type Notice struct{ C <-chan struct{} }

func (*Notice) Cancel() {}

func NotifyFile(FD) (*Notice, error)             { return nil, errors.ErrUnsupported }
func NotifyName(string, string) (*Notice, error) { return nil, errors.ErrUnsupported }
