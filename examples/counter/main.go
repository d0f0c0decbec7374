// Command counter has a counter that survives its program.
//
//	go run ./examples/counter         # run 1; again: run 2, run 3, ...
//	go run ./examples/counter -end    # ends after 3 runs
//	go run ./examples/counter         # run 1
//
// Leak leaves the box behind, without an owner, for the next run. -end owns it again, and then Close
// takes it away. Any number of runs can be at it at once.
package main

import (
	"flag"
	"fmt"
	"log"
	"sync/atomic"

	"github.com/shmembox/shmem"
)

// Counter is what the runs share, one after the other.
type Counter struct {
	Runs atomic.Int64
}

var (
	name = flag.String("name", "counter", "name of the box")
	over = flag.Bool("end", false, "end the counter")
)

// main alone ends the process: os.Exit and log.Fatal run no deferred Close. Nothing waits here, so no
// signal is caught.
func main() {
	log.SetFlags(0)
	flag.Parse()
	run := count
	if *over {
		run = end
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func count() (err error) {
	box, err := shmem.Open[Counter](*name, nil)
	if err != nil {
		return err
	}
	// Only the first run, which creates the box, owns it, and leaks it here; for the others Leak is
	// Close. If the first is killed before, the box is garbage and the next run creates it anew. With
	// Options.Kept there would be no owner from the start, and not even that.
	defer func() {
		if e := box.Leak(); err == nil {
			err = e
		}
	}()
	fmt.Println("run", box.Value().Runs.Add(1))
	return nil
}

func end() (err error) {
	box, err := shmem.Attach[Counter](*name, nil)
	if err != nil {
		return err // fs.ErrNotExist: there is no counter
	}
	defer func() {
		if e := box.Close(); err == nil {
			err = e
		}
	}()
	if err := box.Own(); err != nil {
		return err
	}
	fmt.Println("ends after", box.Value().Runs.Load(), "runs")
	return nil
}
