// Command fiber is a web server with Fiber v3 in four processes that listen at one address. Fiber's
// own middleware for caches, sessions and limits keeps its state in shared memory. Workers are
// killed at random under load.
//
//	go -C examples/web run ./fiber
//
// Fiber's limiter reads a count, adds to it and stores it, so two processes can store the same one:
// it lets more requests through than it should. The route beside it counts by Increment, and is
// exact.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/http/cookiejar"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/cache"
	"github.com/gofiber/fiber/v3/middleware/limiter"
	"github.com/gofiber/fiber/v3/middleware/session"

	"github.com/shmembox/shmem/examples/web/internal/crew"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/kv/fiberstorage"
)

var (
	name  = flag.String("name", "fiber", "beginning of the names of what is shared")
	kills = flag.Int("kills", 10, "how many workers are killed")
	n     = flag.Int("n", 300, "requests of each client, at 300 a second")
)

const (
	workers = 4
	limit   = 100 // requests of a client in a window
	window  = time.Hour
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	run := test
	if addr := flag.Arg(0); addr != "" {
		run = func() error { return serve(addr) }
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

var _ fiber.Storage = (*fiberstorage.Storage)(nil)

// open returns what the workers share.
func open() (*fiberstorage.Storage, error) {
	values, err := kv.OpenCache[string](*name+"-values", &kv.CacheOptions{Size: 4 << 20, Mean: 512})
	if err != nil {
		return nil, err
	}
	counts, err := kv.Open[fiberstorage.Key, int64](*name+"-counts", &kv.Options{Capacity: 100_000})
	if err != nil {
		return nil, errors.Join(err, values.Close())
	}
	return fiberstorage.New(values, counts), nil
}

// serve is a worker.
func serve(addr string) error {
	storage, err := open()
	if err != nil {
		return err
	}
	l, err := crew.Listen(addr)
	if err != nil {
		return err
	}
	crew.Ready()
	return app(storage).Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
}

func app(storage *fiberstorage.Storage) *fiber.App {
	app := fiber.New()
	app.Use(func(c fiber.Ctx) error {
		if number := c.Get(crew.NumberHeader); number != "" {
			if _, err := storage.Increment(c, "request "+number, 1, 0); err != nil {
				return err
			}
		}
		return c.Next()
	})
	app.Get("/page/:name", cache.New(cache.Config{Storage: storage}), func(c fiber.Ctx) error {
		return c.SendString(render(c.Params("name")))
	})
	app.Get("/visits", session.New(session.Config{Storage: storage}), func(c fiber.Ctx) error {
		s := session.FromContext(c)
		visits, _ := s.Get("visits").(int)
		s.Set("visits", visits+1)
		return c.SendString(strconv.Itoa(visits + 1))
	})
	app.Get("/limited", limiter.New(limiter.Config{
		Storage: storage, Max: limit, Expiration: window,
	}), ok)
	app.Get("/exact", func(c fiber.Ctx) error {
		n, err := storage.Increment(c, "client "+c.IP(), 1, window)
		if err == nil && n > limit {
			return c.SendStatus(fiber.StatusTooManyRequests)
		}
		return err
	}, ok)
	return app
}

func ok(c fiber.Ctx) error { return c.SendString("ok") }

// render makes a page.
func render(name string) string { return strings.Repeat("This is page "+name+".\n", 100) }

// test makes the load, kills workers, and checks what came back.
func test() error {
	storage, err := open() // keeps what is shared while no worker is there
	if err != nil {
		return err
	}
	defer storage.Close()
	addr, err := crew.Reserve()
	if err != nil {
		return err
	}
	c, err := crew.Start(workers, "-name", *name, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	at := func(path string) func(uint64) string {
		return func(uint64) string { return "http://" + addr + path }
	}
	stop, visited := make(chan struct{}), make(chan error, 1)
	go func() { visited <- visit("http://"+addr+"/visits", stop) }()
	all, err := c.Run(*kills,
		crew.Load{From: "127.0.0.1", Rate: 300, N: *n, URL: func(n uint64) string {
			return fmt.Sprintf("http://%s/page/%d", addr, n%20)
		}},
		crew.Load{From: "127.0.0.8", Rate: 300, N: *n, URL: at("/limited")},
		crew.Load{From: "127.0.0.9", Rate: 300, N: *n, URL: at("/exact")})
	close(stop)
	if err = errors.Join(err, <-visited); err != nil {
		return err
	}
	return checkReplies(storage, all)
}

// visit makes visits with one session, one after the other, until stop is closed. Each has the next
// number.
func visit(url string, stop <-chan struct{}) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}
	last, unknown := 0, 0
	for {
		select {
		case <-stop:
			fmt.Println("a session counted each of its visits")
			return nil
		default:
		}
		n, err := get(&client, url)
		if err != nil && last > 0 {
			unknown++ // it may have been counted
			continue
		}
		if err != nil {
			continue // there is no session yet
		}
		if n <= last || n > last+1+unknown {
			return fmt.Errorf("a session has the visits %d and then %d", last, n)
		}
		last, unknown = n, 0
	}
}

func get(client *http.Client, url string) (int, error) {
	r, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	var n int
	_, err = fmt.Fscan(r.Body, &n)
	return n, err
}

func checkReplies(storage *fiberstorage.Storage, all []crew.Reply) error {
	lost, err := crew.CheckOnce(all, func(n uint64) (int64, error) {
		return storage.Count(fmt.Sprint("request ", n))
	})
	if err != nil {
		return err
	}
	allowed, asked, missing := map[string]int{}, map[string]int{}, map[string]int{}
	for _, r := range all {
		asked[r.From]++
		switch r.Code {
		case 0:
			missing[r.From]++
		case http.StatusOK:
			allowed[r.From]++
			if r.From == "127.0.0.1" && r.Body != render(fmt.Sprint(r.N%20)) {
				return fmt.Errorf("request %d has a damaged page", r.N)
			}
		case http.StatusTooManyRequests:
		default:
			return fmt.Errorf("request %d: %d %s", r.N, r.Code, r.Body)
		}
	}
	exact := allowed["127.0.0.9"]
	if exact > limit || exact+missing["127.0.0.9"] < min(limit, asked["127.0.0.9"]) {
		return fmt.Errorf("%d of %d requests were allowed", exact, asked["127.0.0.9"])
	}
	fmt.Printf("%d workers, %d killed: %d requests, %d without a reply\n", workers, *kills,
		len(all), lost)
	fmt.Println("each request was counted once, each page was whole")
	fmt.Printf("by Increment %d of %d requests were allowed, by Fiber's limiter %d of %d\n", exact,
		asked["127.0.0.9"], allowed["127.0.0.8"], asked["127.0.0.8"])
	return nil
}
