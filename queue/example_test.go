package queue_test

import (
	"context"
	"fmt"

	"github.com/shmembox/shmem/queue"
)

// A queue is opened by all who use it, in any order; the first one creates it.
func Example() {
	type Job struct{ Number, Size int64 }
	ctx := context.Background()

	q, err := queue.Open[Job]("example-jobs", &queue.Options{Capacity: 16, Slots: 8})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close()
	for i := range int64(3) {
		if err := q.Send(ctx, Job{i, 10 * i}); err != nil {
			fmt.Println(err)
			return
		}
	}
	_ = q.End()

	// Usually in another process.
	for job, err := range q.All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(job)
	}
	// Output:
	// {0 0}
	// {1 10}
	// {2 20}
}

// A message can be written and read in its place, without copying it.
func ExampleBytes() {
	ctx := context.Background()
	q, err := queue.OpenBytes("example-bytes", &queue.BytesOptions{Bytes: 1 << 16})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close()
	err = q.SendFunc(ctx, 5, func(b []byte) error { copy(b, "hello"); return nil })
	if err != nil {
		fmt.Println(err)
		return
	}
	err = q.RecvFunc(ctx, func(b []byte) error { fmt.Printf("%s\n", b); return nil })
	if err != nil {
		fmt.Println(err)
	}
	// Output: hello
}
