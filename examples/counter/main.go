// Command counter keeps a counter in shared memory that outlives the program.
//
//	go run ./examples/counter         # run 1; again: run 2, run 3, ...
//	go run ./examples/counter -end    # ends after 3 runs
//	go run ./examples/counter         # run 1
//
// Leak closes the box and leaves it, without an owner, for the next run. With -end the program owns
// the box again, so that Close removes it. Any number of runs may go on at once.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"sync/atomic"

	"github.com/shmembox/shmem"
)

// Counter is the value of the box. An atomic can be changed without the box's lock.
type Counter struct {
	Runs atomic.Int64
}

var (
	name = flag.String("name", "counter", "name of the box")
	last = flag.Bool("end", false, "remove the counter")
)

// main alone ends the process, because log.Fatal runs no deferred Close. Nothing waits here, so no
// signal is caught.
func main() {
	log.SetFlags(0)
	flag.Parse()
	run := count
	if *last {
		run = end
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func count() error {
	box, err := shmem.Open[Counter](*name, nil)
	if err != nil {
		return err
	}
	fmt.Println("run", box.Value().Runs.Add(1))
	// The first run created the box and owns it. If it is killed before Leak, the box is garbage
	// and the next run creates it anew; shmem.Kept would avoid that. In later runs Leak is the
	// same as Close.
	return box.Leak()
}

func end() error {
	box, err := shmem.Attach[Counter](*name, nil)
	if err != nil {
		return err // fs.ErrNotExist: there is no counter
	}
	if err := box.Own(); err != nil {
		return errors.Join(err, box.Close())
	}
	fmt.Println("ends after", box.Value().Runs.Load(), "runs")
	return box.Close()
}
