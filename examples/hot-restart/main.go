// Command hot-restart replaces a program by its next version, which goes on with the same memory.
//
//	go run ./examples/hot-restart
//
// The old process creates the box, counts to 3 and starts the new process, which calls Own. From
// then on the old process's Close only detaches, and the name stays. The new process counts on from
// 4, and its Close removes the box.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/shmembox/shmem"
)

// Served is the value of the box.
type Served struct{ Requests atomic.Int64 }

var (
	name = flag.String("name", "hot-restart", "name of the box")
	next = flag.Bool("next", false, "be the new version")
)

// main alone ends the process, because log.Fatal runs no deferred Close.
func main() {
	log.SetFlags(0)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := older
	if *next {
		run = newer
	}
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func older(ctx context.Context) error {
	box, err := shmem.Create[Served](*name, nil)
	if err != nil {
		return err
	}
	defer box.Close() // after an error; a second Close does nothing
	serve("old", box)

	c := exec.CommandContext(ctx, os.Args[0], "-name", *name, "-next")
	c.Stderr = os.Stderr
	in, _ := c.StdinPipe()
	out, _ := c.StdoutPipe()
	if err := c.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(out)
	line, _ := lines.ReadString('\n') // when the new process has called Own, or died
	fmt.Print(line)
	fmt.Println("old: owner:", box.Owned())
	err = box.Close()
	_, gone := shmem.Stat("", *name)
	fmt.Println("old: closed; the name is still there:", gone == nil)
	in.Close() // a real program would end here
	io.Copy(os.Stdout, lines)
	return errors.Join(err, c.Wait())
}

func newer(context.Context) error {
	box, err := shmem.Attach[Served](*name, nil)
	if err != nil {
		return err
	}
	defer box.Close()
	if err := box.Own(); err != nil {
		return err
	}
	fmt.Println("new: owner:", box.Owned())
	io.Copy(io.Discard, os.Stdin) // until the old process has closed the box
	serve("new", box)
	return nil
}

func serve(process string, box *shmem.Box[Served]) {
	for range 3 {
		fmt.Println(process+": request", box.Value().Requests.Add(1))
	}
}
