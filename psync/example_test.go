//go:build linux

package psync_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
)

// The second process of the examples is a second attachment of this one, which comes to the same:
// it has its own identity, and closing it while it holds a lock is the death of the holder.

// attachTwice creates a box and attaches to it a second time. A program would open one of them, in
// /dev/shm, with nil for the options.
func attachTwice[T any]() (first, second *shmem.Box[T], remove func()) {
	dir, err := os.MkdirTemp("/dev/shm", "example-")
	check(err)
	first, err = shmem.Create[T]("example", &shmem.Options{Dir: dir})
	check(err)
	second, err = shmem.Attach[T]("example", &shmem.Options{Dir: dir})
	check(err)
	return first, second, func() {
		_ = second.Close()
		_ = first.Close()
		_ = os.Remove(dir)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// A change of a value under a lock, whatever happened to the process that held the lock before.
func ExampleMutex_Do() {
	type Account struct {
		Mu            psync.Mutex
		Deposits, Sum int64 // Sum is 10 for each deposit
	}
	box, other, remove := attachTwice[Account]()
	defer remove()
	ctx := context.Background()
	v, o := box.Value(), other.Value()

	// Another process dies between two stores.
	check(o.Mu.Lock(ctx))
	o.Deposits++
	check(other.Close())

	repair := func() error {
		v.Sum = 10 * v.Deposits
		return nil
	}
	check(v.Mu.Do(ctx, repair, func() error {
		v.Deposits++
		v.Sum += 10
		return nil
	}))
	fmt.Println(v.Deposits, v.Sum)

	// Output:
	// 2 20
}

// A holder dies in the middle of a change. The next one repairs the value and goes on.
func ExampleMutex_Recover() {
	type Account struct {
		Mu            psync.Mutex
		Deposits, Sum int64 // Sum is 10 for each deposit
	}
	box, other, remove := attachTwice[Account]()
	defer remove()
	ctx := context.Background()

	// Another process dies between two stores.
	o := other.Value()
	check(o.Mu.Lock(ctx))
	o.Deposits++
	check(other.Close())

	v := box.Value()
	err := v.Mu.Lock(ctx)
	fmt.Println("the holder died:", errors.Is(err, psync.ErrOwnerDied))
	for errors.Is(err, psync.ErrOwnerDied) {
		check(v.Mu.Recover(ctx, func() error {
			v.Sum = 10 * v.Deposits
			return nil
		}))
		err = v.Mu.Lock(ctx) // by now yet another process may have died
	}
	check(err)
	fmt.Println(v.Deposits, v.Sum)
	check(v.Mu.Unlock())

	// Output:
	// the holder died: true
	// 1 10
}

// Many attachments read at the same time. A reader that dies is in no writer's way.
func ExampleRWMutex() {
	type Limits struct {
		Mu       psync.RWMutex
		Min, Max int64
	}
	box, other, remove := attachTwice[Limits]()
	defer remove()
	ctx := context.Background()
	v, o := box.Value(), other.Value()

	check(o.Mu.RLock(ctx))
	ok, err := v.Mu.TryRLock()
	fmt.Println("both read:", ok, err)
	ok, err = v.Mu.TryLock()
	fmt.Println("write while both read:", ok, err)
	check(v.Mu.RUnlock())
	check(other.Close()) // without RUnlock

	check(v.Mu.Lock(ctx))
	v.Min, v.Max = 1, 8
	check(v.Mu.Unlock())
	fmt.Println("written:", v.Min, v.Max)

	// Output:
	// both read: true <nil>
	// write while both read: false <nil>
	// written: 1 8
}

// At most two requests run at a time, in all processes together.
func ExampleSemaphore() {
	type Pool struct{ Requests psync.Semaphore }
	box, other, remove := attachTwice[Pool]()
	defer remove()
	ctx := context.Background()
	v, o := box.Value(), other.Value()

	check(v.Requests.SetLimit(2))
	check(v.Requests.Acquire(ctx, 1))
	check(o.Requests.Acquire(ctx, 1))
	free, err := v.Requests.Available()
	fmt.Println(free, err)

	check(other.Close()) // its permit is free again
	check(v.Requests.Acquire(ctx, 1))
	fmt.Println(v.Requests.Release(2))

	// Output:
	// 0 <nil>
	// <nil>
}

// A request that gets no permit is refused at once.
func ExampleSemaphore_TryAcquire() {
	type Pool struct{ Requests psync.Semaphore }
	box, other, remove := attachTwice[Pool]()
	defer remove()
	v, o := box.Value(), other.Value()

	check(v.Requests.SetLimit(1))
	fmt.Println(v.Requests.TryAcquire(1))
	fmt.Println(o.Requests.TryAcquire(1))
	check(v.Requests.Release(1))
	fmt.Println(o.Requests.TryAcquire(1))

	// Output:
	// true <nil>
	// false <nil>
	// true <nil>
}

// One process prepares, the others wait for it.
func ExampleEvent() {
	type Service struct {
		Ready psync.Event
		Port  int64
	}
	box, other, remove := attachTwice[Service]()
	defer remove()
	v, o := box.Value(), other.Value()

	check(o.Ready.Promise()) // so that Wait returns ErrOwnerDied if this process dies before Set
	go func() {
		o.Port = 8080
		check(o.Ready.Set())
	}()

	check(v.Ready.Wait(context.Background()))
	fmt.Println(v.Port)

	// Output:
	// 8080
}

// A consumer waits until there is something to do.
func ExampleCond() {
	type Work struct {
		Mu      psync.Mutex
		Changed psync.Cond
		Jobs    int64
	}
	box, other, remove := attachTwice[Work]()
	defer remove()
	ctx := context.Background()
	v, o := box.Value(), other.Value()

	go func() {
		check(o.Mu.Lock(ctx))
		o.Jobs = 3
		check(o.Mu.Unlock())
		check(o.Changed.Broadcast())
	}()

	check(v.Mu.Lock(ctx))
	for v.Jobs == 0 {
		check(v.Changed.Wait(ctx, &v.Mu))
	}
	fmt.Println(v.Jobs)
	check(v.Mu.Unlock())

	// Output:
	// 3
}

// A process fails while it loads a table, and the next one loads it. After that no process does.
func ExampleOnce() {
	type Table struct {
		Loaded psync.Once
		Size   int64
	}
	box, other, remove := attachTwice[Table]()
	defer remove()
	ctx := context.Background()
	v, o := box.Value(), other.Value()

	fmt.Println(o.Loaded.Do(ctx, func() error { return errors.New("the disk is gone") }))
	fmt.Println(v.Loaded.Do(ctx, func() error { v.Size = 100; return nil }))
	fmt.Println(o.Loaded.Do(ctx, func() error { return errors.New("is not called") }))
	fmt.Println(o.Size)

	// Output:
	// the disk is gone
	// <nil>
	// <nil>
	// 100
}
