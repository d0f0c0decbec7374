//go:build linux

package blob_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/shmembox/shmem/blob"
	"github.com/shmembox/shmem/queue"
)

// A producer puts handles into a queue, and a consumer reads the bytes where they are.
func Example() {
	ctx := context.Background()
	name := fmt.Sprint("example-blob-", os.Getpid())
	pool, err := blob.Open(name, &blob.Options{Size: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	images, err := queue.Open[blob.Handle](name+"-queue", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer images.Close()

	b, err := pool.Take(ctx, 5)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	if _, err := b.WriteAt([]byte("image"), 0); err != nil {
		log.Fatal(err)
	}
	h, err := b.HandOver(0)
	if err != nil {
		log.Fatal(err)
	}
	if err := images.Send(ctx, h); err != nil {
		log.Fatal(err)
	}

	h, err = images.Recv(ctx) // in another process
	if err != nil {
		log.Fatal(err)
	}
	got, err := pool.Resolve(h)
	if err != nil {
		log.Fatal(err)
	}
	defer got.Close()
	err = got.View(func(image []byte) error {
		fmt.Println(string(image))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: image
}
