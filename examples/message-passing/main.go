// Command message-passing passes a value from one process to another and back.
//
//	go run ./examples/message-passing
//
// The parent creates a box, sets it to 1 and starts itself with 42 as argument; the child, another
// process, finds 1, sets 42 and leaves; the parent sees 42. As it leaves, the message is dropped,
// once, by its owner, and nothing is left in /dev/shm.
//
// While it runs, a second run is refused, since the name is taken. After kill -9 the next run starts
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

// Message is what the two share.
type Message struct {
	Value atomic.Int64
}

// Drop is called once, by the owner's Close.
func (m *Message) Drop() {
	fmt.Printf("process %d: dropping the message, which says %d\n", os.Getpid(), m.Value.Load())
}

var name = flag.String("name", "message-passing", "name of the box")

// main alone ends the process, when nothing is open any more: os.Exit and log.Fatal run no deferred
// call, and leave an open box as kill -9 does, without Drop and with its name still there.
func main() {
	log.SetFlags(0)
	flag.Parse()
	// A signal that is not caught kills the process too.
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
		return err // fs.ErrExist: another run is going on
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
	fmt.Printf("process %d: found %d, setting %d, owner: %v\n", os.Getpid(), box.Value().Value.Swap(v), v, box.Owned())
	return nil
}
