package segment

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmembox/shmem/internal/errs"
	"github.com/shmembox/shmem/internal/sys"
)

// waiting starts WaitName for the segment "s" and returns when the first try has found nothing.
func waiting(t *testing.T, d string) <-chan error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	tried, done := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		done <- WaitName(ctx, Config{Dir: d}, "s", func() error {
			a, err := tryOpen(d, attachOnly)
			if err == nil {
				err = a.Detach(false)
			}
			select {
			case tried <- struct{}{}:
			default:
			}
			return err
		})
	}()
	<-tried
	return done
}

func TestWaitName(t *testing.T) {
	withoutNotify(t, func(t *testing.T) {
		for name, come := range map[string]func(t *testing.T, d string){
			"created":   func(t *testing.T, d string) { open(t, d) },
			"renamed":   createTemp,
			"moved":     func(t *testing.T, d string) { moveIn(t, d) },
			"recreated": func(t *testing.T, d string) { open(t, d) },
		} {
			t.Run(name, func(t *testing.T) {
				d := dir(t)
				if name == "recreated" {
					open(t, d).Abandon() // garbage in the way
				}
				done := waiting(t, d)
				select {
				case err := <-done:
					t.Fatalf("it did not wait: %v", err)
				default:
				}
				come(t, d)
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		}
	})
}

func createTemp(t *testing.T, d string) {
	sys.AvoidNameless = true
	defer func() { sys.AvoidNameless = false }()
	open(t, d)
}

func moveIn(t *testing.T, d string) {
	other := dir(t)
	open(t, other)
	if err := os.Rename(filepath.Join(other, "s"), filepath.Join(d, "s")); err != nil {
		t.Fatal(err)
	}
}

func TestWaitNameErrors(t *testing.T) {
	withoutNotify(t, func(t *testing.T) {
		d := dir(t)
		missing := func() error {
			_, err := tryOpen(filepath.Join(d, "none"), attachOnly)
			return err
		}
		err := WaitName(context.Background(), Config{Dir: filepath.Join(d, "none")}, "s", missing)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a missing directory: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		err = WaitName(ctx, Config{Dir: d}, "s", func() error {
			cancel()
			_, err := tryOpen(d, attachOnly)
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after cancel: %v", err)
		}
		if err := WaitName(ctx, Config{Dir: d}, "a/b", nil); !errors.Is(err, errs.BadName) {
			t.Errorf("a bad name: %v", err)
		}
		err = WaitName(context.Background(), Config{Dir: d}, "s", func() error { return errs.Mismatch })
		if err != errs.Mismatch {
			t.Errorf("another error: %v", err)
		}
		// The directory goes while it waits.
		sub := filepath.Join(d, "sub")
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		done := waiting(t, sub)
		if err := os.Remove(sub); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after the end of the directory: %v", err)
		}
	})
}
