package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/sys"
)

// WaitName calls attach until it returns another error than fs.ErrNotExist, or nil, and returns
// that. It calls attach again when a file has got the name. If ctx is done first it returns the
// error of ctx. A directory that does not exist is an error at once.
//
// Garbage under the name needs nothing of its own: what replaces it gets the name anew.
func WaitName(ctx context.Context, c Config, name string, attach func() error) error {
	cfg, err := c.withDefaults()
	if err != nil {
		return err
	}
	path, err := locate(name, cfg)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	var come <-chan struct{}
	every := firstLook
	// The watch comes before the first try: no name is missed.
	if notice, err := sys.NotifyName(dir, filepath.Base(path)); err == nil {
		defer notice.Cancel()
		come, every = notice.C, lastLook
	}
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		if err := attach(); !errors.Is(err, fs.ErrNotExist) || !isDir(dir) {
			return err
		}
		if ctx == nil {
			return errs.NoContext
		}
		select {
		case <-come:
		case <-timer.C:
			every = min(2*every, lastLook)
			timer.Reset(every)
		case <-ctx.Done():
			if leftBehind(path) {
				return fmt.Errorf("%w; %s is what dead processes left", ctx.Err(), path)
			}
			return fmt.Errorf("%w; there is no %s yet", ctx.Err(), path)
		}
	}
}
