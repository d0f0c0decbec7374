package queue_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

// roles are those of child processes; each file adds its own in init.
var roles []shmemtest.Role

func TestMain(m *testing.M) { shmemtest.Main(m, roles...) }

var background = context.Background()

// check ends the test with err, if it is one.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// options are for queues that end with the test, whatever is left in them.
func options(dir string) *queue.Options {
	return &queue.Options{Dir: dir, Lifetime: shmem.Owned}
}

func bytesOptions(dir string) *queue.BytesOptions {
	return &queue.BytesOptions{Dir: dir, Lifetime: shmem.Owned}
}

// open opens a queue, and closes it at the end of the test.
func open[T any](t testing.TB, dir string, change func(*queue.Options)) *queue.Queue[T] {
	t.Helper()
	o := options(dir)
	if change != nil {
		change(o)
	}
	q, err := queue.Open[T]("q", o)
	check(t, err)
	t.Cleanup(func() { check(t, q.Close()) })
	return q
}

func init() { roles = append(roles, shmemtest.Role{Name: "echo", Run: echo}) }

// echo sends back what it receives.
func echo(c *shmemtest.Conn) error {
	a, err := queue.Attach[int64]("there", options(c.Args()[0]))
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := queue.Attach[int64]("back", options(c.Args()[0]))
	if err != nil {
		return err
	}
	defer b.Close()
	for v, err := range a.All(background) {
		if err != nil {
			return err
		}
		if err := b.Send(background, v+1); err != nil {
			return err
		}
	}
	return b.End()
}

func TestTwoProcesses(t *testing.T) {
	for _, single := range []bool{false, true} {
		t.Run(fmt.Sprint("single=", single), func(t *testing.T) {
			dir := shmemtest.Dir(t)
			o := options(dir)
			o.Single = single
			there, err := queue.Create[int64]("there", o)
			check(t, err)
			defer there.Close()
			back, err := queue.Create[int64]("back", o)
			check(t, err)
			defer back.Close()
			c := shmemtest.Start(t, "echo", dir)
			for i := range int64(2000) {
				check(t, there.Send(background, i))
				if v, err := back.Recv(background); v != i+1 || err != nil {
					t.Fatalf("got %d %v", v, err)
				}
			}
			go func() {
				for i := range int64(5000) {
					_ = there.Send(background, i)
				}
				_ = there.End()
			}()
			n := int64(0)
			for v, err := range back.All(background) {
				check(t, err)
				if n++; v != n {
					t.Fatalf("got %d, want %d", v, n)
				}
			}
			if n != 5000 {
				t.Errorf("got %d", n)
			}
			check(t, c.Close())
		})
	}
}

func shmemPage() int { return os.Getpagesize() }
