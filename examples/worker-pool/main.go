// Command worker-pool spreads jobs over processes, one of which is killed in the middle of its work.
//
//	go run ./examples/worker-pool
//
// The parent sends 200 jobs to a queue and starts itself three times as a worker. A worker receives a job in place: as
// long as it is at it the job is only lent, so that what the killed worker had in hand is given to another one. The
// results come back by a second queue. A job can be done twice, if a worker dies after it has sent the result; so the
// parent keeps the results by job.
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

// Job is to count the primes from From up to To.
type Job struct{ From, To int64 }

// Result is what came of a job.
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
	var workers []*exec.Cmd
	for range 3 {
		w := exec.CommandContext(ctx, os.Args[0], "-name", *name, "worker")
		w.Stderr = os.Stderr
		if err := w.Start(); err != nil {
			return err
		}
		workers = append(workers, w)
	}

	const n, size = 200, 5000
	sent := make(chan error, 1)
	go func() {
		for i := range int64(n) {
			if err := jobs.Send(ctx, Job{i * size, (i + 1) * size}); err != nil {
				sent <- err
				return
			}
		}
		sent <- jobs.End()
	}()
	done := map[Job]int64{}
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
			return nil // no more jobs
		}
		if err != nil {
			return err
		}
	}
}

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
