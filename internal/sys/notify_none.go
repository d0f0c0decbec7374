//go:build !linux || portable

package sys

import "errors"

// A Notice is never made on this system.
type Notice struct{ C <-chan struct{} }

func (*Notice) Cancel() {}

func NotifyFile(FD) (*Notice, error)             { return nil, errors.ErrUnsupported }
func NotifyName(string, string) (*Notice, error) { return nil, errors.ErrUnsupported }
