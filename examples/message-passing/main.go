// Command message-passing passes a value from one process to another and back.
//
//	go run ./examples/message-passing
//
// The parent creates a box, sets the value to 1 and starts itself with the argument 42. The child
// finds 1, sets 42 and exits. The parent sees 42. Its Close drops the message, since it is the
// owner, and leaves nothing in /dev/shm.
//
// While it runs a second run fails, because the name is taken. After kill -9 the next run starts
// afresh.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/shmembox/shmem"
)

// Message is the value that both processes share.
type Message struct {
	Value atomic.Int64
}

// Drop is called by the owner's Close, once.
func (m *Message) Drop() {
	fmt.Printf("process %d: dropping the message, which says %d\n", os.Getpid(), m.Value.Load())
}

var name = flag.String("name", "message-passing", "name of the box")

// main alone ends the process. log.Fatal runs no deferred Close: with an open box it would be like
// kill -9, without Drop and with the name left.
func main() {
	log.SetFlags(0)
	flag.Parse()
	// A signal that is not caught would kill the process, too.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := parent
	if flag.NArg() > 0 {
		run = child
	}
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func parent(ctx context.Context) error {
	box, err := shmem.Create[Message](*name, nil)
	if err != nil {
		return err // fs.ErrExist: another run goes on
	}
	defer box.Close()
	box.Value().Value.Store(1)
	fmt.Printf("process %d: set 1, owner: %v\n", os.Getpid(), box.Owned())

	c := exec.CommandContext(ctx, os.Args[0], "-name", *name, "42")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("child: %w", err)
	}
	fmt.Printf("process %d: sees %d\n", os.Getpid(), box.Value().Value.Load())
	return nil
}

func child(context.Context) error {
	v, err := strconv.ParseInt(flag.Arg(0), 10, 64)
	if err != nil {
		return err
	}
	box, err := shmem.Attach[Message](*name, nil)
	if err != nil {
		return err
	}
	defer box.Close()
	fmt.Printf("process %d: found %d, setting %d, owner: %v\n", os.Getpid(),
		box.Value().Value.Swap(v), v, box.Owned())
	return nil
}
