// Command hot-restart replaces a program by its next version without losing what it had in memory.
//
//	go run ./examples/hot-restart
//
// The old process creates the box, counts to 3 and starts the new one, which calls Own. The old one's
// Close only detaches then, and the name stays. The new one counts on from 4, and its Close takes the
// box away.
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

// Served is what outlives the program that counts it.
type Served struct{ Requests atomic.Int64 }

var (
	name = flag.String("name", "hot-restart", "name of the box")
	next = flag.Bool("next", false, "be the new version")
)

// main alone ends the process: os.Exit and log.Fatal run no deferred Close.
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
	defer box.Close() // a second Close is nothing
	serve("old", box)

	c := exec.CommandContext(ctx, os.Args[0], "-name", *name, "-next")
	c.Stderr = os.Stderr
	in, _ := c.StdinPipe()
	out, _ := c.StdoutPipe()
	if err := c.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(out)
	line, _ := lines.ReadString('\n') // until the new one has called Own, or died
	fmt.Print(line)
	fmt.Println("old: owner:", box.Owned())
	err = box.Close()
	_, gone := shmem.Stat("", *name)
	fmt.Println("old: closed; the name is still there:", gone == nil)
	in.Close() // a real one would end here
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
	io.Copy(io.Discard, os.Stdin) // until the old one has closed
	serve("new", box)
	return nil
}

func serve(who string, box *shmem.Box[Served]) {
	for range 3 {
		fmt.Println(who+": request", box.Value().Requests.Add(1))
	}
}
