// Command workers counts primes in four processes that share one struct of atomics.
//
//	go run ./examples/workers
//
// It prints how much each process did, which differs from run to run, and the sum, which is always
// 78498 primes below 1000000. Ctrl-C ends all processes, and leaves nothing in /dev/shm.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/big"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/shmembox/shmem"
)

const limit, chunk, processes = 1_000_000, 1000, 4

// Work is the value that the processes share. It begins as zeros.
type Work struct {
	Next   atomic.Int64 // the first number that no process has taken
	Primes atomic.Int64
	Chunks [processes]atomic.Int64 // chunks that each process did
}

var (
	name   = flag.String("name", "workers", "name of the box")
	number = flag.Int("worker", -1, "be worker number `n`")
)

// main alone ends the process, because log.Fatal runs no deferred Close.
func main() {
	log.SetFlags(0)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := parent
	if *number >= 0 {
		run = worker
	}
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// parent creates the box, starts the workers and prints what they found.
func parent(ctx context.Context) error {
	box, err := shmem.Create[Work](*name, nil)
	if err != nil {
		return err
	}
	defer box.Close()
	var all sync.WaitGroup
	var errs [processes]error
	for i := range processes {
		all.Go(func() {
			c := exec.CommandContext(ctx, os.Args[0], "-name", *name, "-worker", fmt.Sprint(i))
			c.Stderr = os.Stderr
			errs[i] = c.Run()
		})
	}
	all.Wait()
	w := box.Value()
	for i := range w.Chunks {
		fmt.Printf("process %d did %d of %d\n", i, w.Chunks[i].Load(), limit/chunk)
	}
	fmt.Printf("%d primes below %d\n", w.Primes.Load(), limit)
	return errors.Join(errs[:]...)
}

// worker takes chunks of numbers until there are no more.
func worker(ctx context.Context) error {
	box, err := shmem.Attach[Work](*name, nil)
	if err != nil {
		return err
	}
	defer box.Close()
	w := box.Value()
	for ctx.Err() == nil {
		first := w.Next.Add(chunk) - chunk
		if first >= limit {
			return nil
		}
		for p := first; p < first+chunk; p++ {
			if big.NewInt(p).ProbablyPrime(0) { // certain for numbers of 64 bits
				w.Primes.Add(1)
			}
		}
		w.Chunks[*number].Add(1)
	}
	return ctx.Err()
}
