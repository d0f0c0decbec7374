//go:build linux

package limit_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/limit"
)

// All workers of a server together allow 100 requests a second, and 3 at once.
func Example() {
	type Server struct{ Requests limit.Bucket }
	name := fmt.Sprint("example-limit-", os.Getpid())
	box, err := shmem.Open[Server](name, &shmem.Options{Lifetime: shmem.Shared})
	if err != nil {
		log.Fatal(err)
	}
	defer box.Close()
	l := limit.New(&box.Value().Requests, 100, 3)
	now := time.Now()
	for range 5 {
		fmt.Println(l.AllowN(now, 1))
	}
	fmt.Println("10 ms later:", l.AllowN(now.Add(10*time.Millisecond), 1))
	// Output:
	// true
	// true
	// true
	// false
	// false
	// 10 ms later: true
}

// Each client may make 10 requests a second, and 2 at once, whichever worker serves it.
func ExampleKeyed() {
	name := fmt.Sprint("example-limit-keyed-", os.Getpid())
	clients, err := kv.Open[[4]byte, limit.State](name, &kv.Options{Capacity: 10_000, Evict: true})
	if err != nil {
		log.Fatal(err)
	}
	defer clients.Close()
	l := limit.NewKeyed(clients, 10, 2)
	ctx := context.Background()
	now := time.Now()
	for range 3 {
		ok, err := l.AllowN(ctx, [4]byte{192, 0, 2, 1}, now, 1)
		fmt.Println(ok, err)
	}
	ok, err := l.AllowN(ctx, [4]byte{192, 0, 2, 2}, now, 1)
	fmt.Println(ok, err)
	// Output:
	// true <nil>
	// true <nil>
	// false <nil>
	// true <nil>
}
