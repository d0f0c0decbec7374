// Command worker-pool spreads jobs over processes, and kills one of them while it works.
//
//	go run ./examples/worker-pool
//
// The parent sends 200 jobs to a queue and starts itself three times as a worker. A worker receives
// a job with RecvFunc: until the function returns, the job is leased. When the worker is killed its
// job is redelivered to another one. The results come back by a second queue.
//
// Delivery is at-least-once: a worker may die after it has sent a result and before the lease ends.
// So the parent keeps the results by job, and counts each job once.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"

	"github.com/shmembox/shmem/queue"
)

// Job asks for the number of primes from From up to, but not including, To.
type Job struct{ From, To int64 }

// Result is the answer to a job.
type Result struct {
	Job    Job
	Primes int64
}

var name = flag.String("name", "worker-pool", "name of the queues")

func main() {
	log.SetFlags(0)
	flag.Parse()
	run := parent
	if flag.NArg() > 0 {
		run = worker
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// parent sends the jobs, collects the results, and kills a worker when a quarter of them is there.
func parent(ctx context.Context) error {
	jobs, err := queue.Create[Job](*name, &queue.Options{Capacity: 16})
	if err != nil {
		return err
	}
	defer jobs.Close()
	results, err := queue.Create[Result](*name+"-results", nil)
	if err != nil {
		return err
	}
	defer results.Close()
	workers, err := startWorkers(ctx, 3)
	if err != nil {
		return err
	}
	const n, size = 200, 5000
	sent := make(chan error, 1)
	go func() { sent <- sendJobs(ctx, jobs, n, size) }()
	done := map[Job]int64{} // primes by job
	for len(done) < n {
		r, err := results.Recv(ctx)
		if err != nil {
			return err
		}
		done[r.Job] = r.Primes
		if len(done) == n/4 {
			fmt.Println("killing a worker")
			_ = workers[0].Process.Kill()
		}
	}
	sum := int64(0)
	for _, primes := range done {
		sum += primes
	}
	fmt.Printf("%d jobs done: %d primes below %d\n", len(done), sum, n*size)
	for i, w := range workers {
		if err := w.Wait(); err != nil && i > 0 {
			return err
		}
	}
	return <-sent
}

func startWorkers(ctx context.Context, n int) (workers []*exec.Cmd, err error) {
	for range n {
		w := exec.CommandContext(ctx, os.Args[0], "-name", *name, "worker")
		w.Stderr = os.Stderr
		if err := w.Start(); err != nil {
			return nil, err
		}
		workers = append(workers, w)
	}
	return workers, nil
}

// sendJobs sends n jobs of size numbers each, and ends the queue: the workers return when it is
// empty.
func sendJobs(ctx context.Context, jobs *queue.Queue[Job], n, size int64) error {
	for i := range n {
		if err := jobs.Send(ctx, Job{i * size, (i + 1) * size}); err != nil {
			return err
		}
	}
	return jobs.End()
}

// worker does jobs until there are no more.
func worker(ctx context.Context) error {
	jobs, err := queue.Attach[Job](*name, nil)
	if err != nil {
		return err
	}
	defer jobs.Close()
	results, err := queue.Attach[Result](*name+"-results", nil)
	if err != nil {
		return err
	}
	defer results.Close()
	for {
		err := jobs.RecvFunc(ctx, func(job *Job) error {
			return results.Send(ctx, Result{*job, primes(*job)})
		})
		if err == io.EOF {
			return nil // the queue has ended and is empty
		}
		if err != nil {
			return err
		}
	}
}

// primes counts primes by trial division.
func primes(j Job) (n int64) {
next:
	for v := max(j.From, 2); v < j.To; v++ {
		for d := int64(2); d*d <= v; d++ {
			if v%d == 0 {
				continue next
			}
		}
		n++
	}
	return n
}
