//go:build linux

package kv_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/shmembox/shmem/kv"
)

func Example() {
	ctx := context.Background()
	type Session struct{ User, Visits int64 }
	name := fmt.Sprint("example-kv-", os.Getpid())
	sessions, err := kv.Open[[4]byte, Session](name, &kv.Options{Capacity: 100})
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close()
	id := [4]byte{1, 2, 3, 4}
	if err := sessions.SetFor(ctx, id, Session{User: 7}, time.Hour); err != nil {
		log.Fatal(err)
	}
	err = sessions.Update(ctx, id, func(s *Session, found bool) (keep bool, err error) {
		s.Visits++
		return found, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	session, found, err := sessions.Get(id)
	fmt.Println(session, found, err)
	// Output: {7 1} true <nil>
}

// Requests of each client are counted for a minute from the first one on.
func ExampleAdd() {
	ctx := context.Background()
	name := fmt.Sprint("example-kv-add-", os.Getpid())
	hits, err := kv.Open[[4]byte, int64](name, &kv.Options{Capacity: 1000, Evict: true})
	if err != nil {
		log.Fatal(err)
	}
	defer hits.Close()
	client := [4]byte{192, 0, 2, 1}
	for range 3 {
		n, err := kv.Add(ctx, hits, client, 1, time.Minute)
		fmt.Println(n, err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 3 <nil>
}

// Values of any length are kept as long as there is room.
func ExampleCache() {
	ctx := context.Background()
	name := fmt.Sprint("example-kv-cache-", os.Getpid())
	pages, err := kv.OpenCache[string](name, &kv.CacheOptions{Size: 1 << 20, Mean: 1000})
	if err != nil {
		log.Fatal(err)
	}
	defer pages.Close()
	if err := pages.SetFor(ctx, "/index.html", []byte("<html>"), time.Minute); err != nil {
		log.Fatal(err)
	}
	page, found, err := pages.Get("/index.html")
	fmt.Println(string(page), found, err)
	st := pages.Stats()
	fmt.Println(st.Hits, st.Misses)
	// Output:
	// <html> true <nil>
	// 1 0
}
