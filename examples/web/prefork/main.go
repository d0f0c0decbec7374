// Command prefork is a web server in four processes that listen at one address. They share a
// counter, a rate limit for each client and a cache of pages. Workers are killed at random under
// load: no request is counted twice, none that had a reply is missing, no client gets more than its
// limit, and no page is damaged.
//
//	go -C examples/web run ./prefork
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/examples/web/internal/crew"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/limit"
)

var (
	name  = flag.String("name", "prefork", "beginning of the names of what is shared")
	kills = flag.Int("kills", 10, "how many workers are killed")
	n     = flag.Int("n", 200, "requests of each client, at 200 a second")
)

const (
	workers = 4
	rate    = 200 // requests of a client a second that are allowed
	burst   = 100
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

// Totals are counters of all workers.
type Totals struct{ Allowed, Refused atomic.Int64 }

// shared is what the workers share.
type shared struct {
	totals  *shmem.Box[Totals]
	counted *kv.Map[uint64, int64] // requests by their numbers
	clients *kv.Map[[4]byte, limit.State]
	pages   *kv.Cache[string]
}

func open() (*shared, error) {
	var s shared
	var errs [4]error
	s.totals, errs[0] = shmem.Open[Totals](*name+"-totals", &shmem.Options{Lifetime: shmem.Shared})
	s.counted, errs[1] = kv.Open[uint64, int64](*name+"-counted", &kv.Options{Capacity: 100_000})
	s.clients, errs[2] = kv.Open[[4]byte, limit.State](*name+"-clients",
		&kv.Options{Capacity: 10_000, Evict: true})
	s.pages, errs[3] = kv.OpenCache[string](*name+"-pages",
		&kv.CacheOptions{Size: 1 << 20, Mean: 4096})
	return &s, errors.Join(errs[:]...)
}

func (s *shared) close() error {
	return errors.Join(s.totals.Close(), s.counted.Close(), s.clients.Close(), s.pages.Close())
}

// serve is a worker.
func serve(addr string) error {
	s, err := open()
	if err != nil {
		return err
	}
	l, err := crew.Listen(addr)
	if err != nil {
		return err
	}
	crew.Ready()
	perClient := limit.NewKeyed(s.clients, rate, burst)
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.handle(w, r, perClient); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
}

func (s *shared) handle(w http.ResponseWriter, r *http.Request, l *limit.Keyed[[4]byte]) error {
	ctx := r.Context()
	number, err := strconv.ParseUint(r.Header.Get(crew.NumberHeader), 10, 64)
	if err != nil {
		return err
	}
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return err
	}
	if _, err := kv.Add(ctx, s.counted, number, 1, 0); err != nil {
		return err
	}
	ok, err := l.Allow(ctx, client.Addr().As4())
	if err != nil {
		return err
	}
	if !ok {
		s.totals.Value().Refused.Add(1)
		w.WriteHeader(http.StatusTooManyRequests)
		return nil
	}
	s.totals.Value().Allowed.Add(1)
	found, err := s.pages.View(r.URL.Path, func(page []byte) error {
		_, err := w.Write(page)
		return err
	})
	if found || err != nil {
		return err
	}
	page := render(r.URL.Path)
	if err := s.pages.SetFor(ctx, r.URL.Path, []byte(page), time.Minute); err != nil {
		return err
	}
	_, err = w.Write([]byte(page))
	return err
}

// render makes a page, of another length for each path.
func render(path string) string {
	return strings.Repeat("This is "+path+"\n", 20+len(path))
}

// test makes the load, kills workers, and checks what came back.
func test() error {
	s, err := open() // keeps what is shared while no worker is there
	if err != nil {
		return err
	}
	defer s.close()
	addr, err := crew.Reserve()
	if err != nil {
		return err
	}
	c, err := crew.Start(workers, "-name", *name, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	url := func(n uint64) string {
		return fmt.Sprintf("http://%s/%s", addr, strings.Repeat("page", int(n%20)))
	}
	began := time.Now()
	all, err := c.Run(*kills,
		crew.Load{From: "127.0.0.1", Rate: 200, N: *n, URL: url},
		crew.Load{From: "127.0.0.2", Rate: 200, N: *n, URL: url},
		crew.Load{From: "127.0.0.9", Rate: 800, N: 4 * *n, URL: url})
	if err != nil {
		return err
	}
	return s.check(all, time.Since(began))
}

func (s *shared) check(all []crew.Reply, took time.Duration) error {
	lost, err := crew.CheckOnce(all, func(n uint64) (int64, error) {
		count, _, err := s.counted.Get(n)
		return count, err
	})
	if err != nil {
		return err
	}
	allowed, asked := map[string]int{}, map[string]int{}
	sum := 0
	for _, r := range all {
		asked[r.From]++
		switch r.Code {
		case 0, http.StatusTooManyRequests:
			continue
		case http.StatusOK:
		default:
			return fmt.Errorf("request %d: %d %s", r.N, r.Code, r.Body)
		}
		if r.Body != render("/"+strings.Repeat("page", int(r.N%20))) {
			return fmt.Errorf("request %d has a damaged page", r.N)
		}
		allowed[r.From]++
		sum++
	}
	for client, n := range allowed {
		if most := burst + rate*took.Seconds(); float64(n) > most {
			return fmt.Errorf("%s was allowed %d requests, more than %.0f", client, n, most)
		}
	}
	t := s.totals.Value()
	if n := int(t.Allowed.Load()); n < sum || n > sum+lost {
		return fmt.Errorf("%d requests were allowed, and %d replies came", n, sum)
	}
	fmt.Printf("%d workers, %d killed: %d requests, %d without a reply\n", workers, *kills,
		len(all), lost)
	fmt.Println("each request was counted once, each page was whole")
	fmt.Printf("127.0.0.9 was allowed %d of %d requests\n", allowed["127.0.0.9"],
		asked["127.0.0.9"])
	fmt.Printf("%d pages came from the cache\n", s.pages.Stats().Hits)
	return nil
}
