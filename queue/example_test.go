package queue_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
)

// Two attachments stand for two processes here.

// A work queue: any process opens it, in any order, and the first one creates it. Each job goes to
// one receiver.
func Example() {
	type Job struct{ Number, Size int64 }
	ctx := context.Background()

	boss, err := queue.Open[Job]("example-jobs", &queue.Options{Capacity: 16})
	if err != nil {
		log.Fatal(err)
	}
	defer boss.Close()
	worker, err := queue.Open[Job]("example-jobs", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer worker.Close()

	for i := range int64(3) {
		if err := boss.Send(ctx, Job{i, 10 * i}); err != nil {
			log.Fatal(err)
		}
	}
	if err := boss.End(); err != nil { // the loop below ends after the last job
		log.Fatal(err)
	}

	for job, err := range worker.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(job)
	}
	// Output:
	// {0 0}
	// {1 10}
	// {2 20}
}

// Batches cost less per message.
func ExampleQueue_SendBatch() {
	ctx := context.Background()
	q, err := queue.Open[int32]("example-batches", &queue.Options{Capacity: 8})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()

	n, err := q.SendBatch(ctx, []int32{1, 2, 3, 4, 5})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("sent", n)

	batch := make([]int32, 3)
	for range 2 {
		n, err := q.RecvBatch(ctx, batch)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(batch[:n])
	}
	// Output:
	// sent 5
	// [1 2 3]
	// [4 5]
}

// RecvFunc takes a message on a lease: until the function returns nil the message is not consumed.
// If the function fails, or the process dies in it, the message is redelivered.
func ExampleQueue_RecvFunc() {
	ctx := context.Background()
	q, err := queue.Open[int32]("example-lease", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	if err := q.Send(ctx, 42); err != nil {
		log.Fatal(err)
	}

	err = q.RecvFunc(ctx, func(v *int32) error {
		fmt.Println("first try:", *v)
		return errors.New("database is down")
	})
	fmt.Println(err)
	err = q.RecvFunc(ctx, func(v *int32) error {
		fmt.Println("second try:", *v)
		return nil
	})
	fmt.Println(err)
	// Output:
	// first try: 42
	// database is down
	// second try: 42
	// <nil>
}

// The Try methods never block.
func ExampleQueue_TrySend() {
	q, err := queue.Open[int32]("example-try", &queue.Options{Capacity: 1, Lifetime: shmem.Owned})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()

	_, err = q.TryRecv()
	fmt.Println(errors.Is(err, queue.ErrEmpty))
	fmt.Println(q.TrySend(1))
	fmt.Println(q.TrySend(2))
	// Output:
	// true
	// <nil>
	// shmem: queue send example-try: the queue is full; use Send, or create it with more Options.Capacity
}

// A Bytes carries messages of any length. SendFunc and RecvFunc write and read them in place,
// without a copy.
func ExampleBytes() {
	ctx := context.Background()
	q, err := queue.OpenBytes("example-bytes", &queue.BytesOptions{Bytes: 1 << 16})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()

	if err := q.Send(ctx, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	err = q.SendFunc(ctx, 5, func(b []byte) error { copy(b, "world"); return nil })
	if err != nil {
		log.Fatal(err)
	}

	buf, err := q.Recv(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", buf)
	err = q.RecvFunc(ctx, func(b []byte) error { fmt.Printf("%s\n", b); return nil })
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// hello
	// world
}

// A Bytes is an io.Writer: each call of Write is one message.
func ExampleBytes_Write() {
	q, err := queue.OpenBytes("example-log", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()

	fmt.Fprintf(q, "request %d done\n", 7)
	line, err := q.Recv(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", line)
	// Output: "request 7 done\n"
}

// A Single queue has one sender and one receiver, and is several times as fast. The first caller
// that sends has the sending end until its attachment, or its Sender, is closed.
func ExampleOptions_single() {
	ctx := context.Background()
	opts := &queue.Options{Capacity: 64, Single: true}
	left, err := queue.Open[float64]("example-single", opts)
	if err != nil {
		log.Fatal(err)
	}
	defer left.Close()
	right, err := queue.Open[float64]("example-single", opts)
	if err != nil {
		log.Fatal(err)
	}
	defer right.Close()

	s, err := left.Sender() // a Sender is faster than the methods of the queue
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	r, err := right.Receiver()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	if err := s.Send(ctx, 2.5); err != nil {
		log.Fatal(err)
	}
	v, err := r.Recv(ctx)
	fmt.Println(v, err)

	err = right.Send(ctx, 3)
	fmt.Println(errors.Is(err, queue.ErrTaken))
	// Output:
	// 2.5 <nil>
	// true
}

// After End senders get ErrEnded, and receivers io.EOF when the last message is received.
func ExampleQueue_End() {
	ctx := context.Background()
	q, err := queue.Open[int32]("example-end", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	if err := q.Send(ctx, 1); err != nil {
		log.Fatal(err)
	}
	if err := q.End(); err != nil {
		log.Fatal(err)
	}

	err = q.Send(ctx, 2)
	fmt.Println(errors.Is(err, queue.ErrEnded))
	v, err := q.Recv(ctx)
	fmt.Println(v, err)
	_, err = q.Recv(ctx)
	fmt.Println(err == io.EOF)
	// Output:
	// true
	// 1 <nil>
	// true
}

// Errors name the operation and the queue.
func ExampleAttach() {
	_, err := queue.Attach[int32]("example-none", nil)
	if e, ok := errors.AsType[*shmem.Error](err); ok {
		fmt.Println(e.Op, "of", e.Name)
	}
	// Output: queue attach of example-none
}

// A stream of bytes from one process to another: here both ends are in one.
func ExampleBytes_Reader() {
	q, err := queue.OpenBytes("example-stream", &queue.BytesOptions{Single: true})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	r, err := q.Reader(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	go func() { // in the other process
		w, err := q.Writer(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		if _, err := io.WriteString(w, "to be\nor not\n"); err != nil {
			log.Fatal(err)
		}
		if err := w.Close(); err != nil { // the reader gets io.EOF
			log.Fatal(err)
		}
	}()

	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fmt.Println(lines.Text())
	}
	if err := lines.Err(); err != nil { // io.ErrUnexpectedEOF: the writer has died
		log.Fatal(err)
	}
	// Output:
	// to be
	// or not
}
