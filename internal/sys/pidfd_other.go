//go:build !linux

package sys

import (
	"errors"
	"os"
)

func OpenProcess(int) (*os.File, error) { return nil, errors.ErrUnsupported }
func WaitProcess(*os.File) error        { return errors.ErrUnsupported }
