package lifecycle_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/shmemtest"
)

// TestTruncatedWhileWaiting truncates the file of a waiting call: the call returns an error, and
// Close does not block.
func TestTruncatedWhileWaiting(t *testing.T) {
	needsFaults(t)
	type locked struct{ Mu psync.Mutex }
	dir := shmemtest.Dir(t)
	for name, call := range map[string]func(context.Context, *shmem.Box[locked]) error{
		"update": func(_ context.Context, b *shmem.Box[locked]) error {
			return b.Update(context.Background(), func(*locked) error { return nil })
		},
		"mutex": func(ctx context.Context, b *shmem.Box[locked]) error {
			return b.Do(func(v *locked) error { return v.Mu.Lock(ctx) })
		},
	} {
		a, b := open[locked](t, dir, name), attach[locked](t, dir, name)
		check(t, b.Value().Mu.Lock(context.Background()))
		in, out, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			_ = a.Update(context.Background(), func(*locked) error { close(in); <-out; return nil })
		}()
		<-in
		ctx, cancel := context.WithCancel(t.Context())
		err := make(chan error, 1)
		go func() { err <- call(ctx, b) }()
		time.Sleep(50 * time.Millisecond)
		check(t, os.Truncate(filepath.Join(dir, name), 0))
		cancel() // wakes the waiter from another goroutine
		within(t, func() {
			wantErr(t, <-err, shmem.ErrFault)
			wantErr(t, b.Close(), shmem.ErrCorrupt)
		})
		close(out)
		<-ended
		_ = a.Close()
		check(t, shmem.Remove(dir, name))
	}
}
