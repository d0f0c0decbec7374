//go:build linux

package limit_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/shmembox/shmem"
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
