package maps_test

import (
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/gomodule/redigo/redis"
	"golang.org/x/sys/unix"

	"github.com/shmembox/shmem/shmemtest"
)

// BenchmarkServers compares a kv.Cache with caches of another process, over its Unix socket: the
// calls of BenchmarkCaches. cpu-ns/op is the processor time of both processes. A server that is not
// installed is left out.

type redisCache struct{ c redis.Conn }

func (r redisCache) get(dst, k []byte) []byte {
	v, err := redis.Bytes(r.c.Do("GET", k))
	if err != nil && !errors.Is(err, redis.ErrNil) {
		panic(err)
	}
	return append(dst, v...)
}

func (r redisCache) set(k, v []byte) {
	if _, err := r.c.Do("SET", k, v); err != nil {
		panic(err)
	}
}

// pipelined makes n calls, a hundred at a time.
func (r redisCache) pipelined(n int, pick func() int) {
	const most = 100
	v := make([]byte, 64)
	for sent := 0; sent < n; {
		batch := min(most, n-sent)
		for i := range batch {
			k := bytesOf(make([]byte, 0, 16), uint64(pick()))
			var err error
			if (sent+i)%20 >= readsOf20 {
				err = r.c.Send("SET", k, v)
			} else {
				err = r.c.Send("GET", k)
			}
			if err != nil {
				panic(err)
			}
		}
		if err := r.c.Flush(); err != nil {
			panic(err)
		}
		for range batch {
			if _, err := r.c.Receive(); err != nil {
				panic(err)
			}
		}
		sent += batch
	}
}

type memcached struct{ c *memcache.Client }

func (m memcached) get(dst, k []byte) []byte {
	item, err := m.c.Get(fmt.Sprintf("%x", k)) // the protocol's keys are texts
	if errors.Is(err, memcache.ErrCacheMiss) {
		return dst
	}
	if err != nil {
		panic(err)
	}
	return append(dst, item.Value...)
}

func (m memcached) set(k, v []byte) {
	if err := m.c.Set(&memcache.Item{Key: fmt.Sprintf("%x", k), Value: v}); err != nil {
		panic(err)
	}
}

// server starts a server that listens at a Unix socket. It returns its pid, or 0 if the program is
// not installed.
func server(b *testing.B, program string, args func(socket string) []string) (
	pid int, socket string,
) {
	path, err := exec.LookPath(program)
	if err != nil {
		fmt.Printf("%s is not installed: it is left out\n", program)
		return 0, ""
	}
	socket = filepath.Join(b.TempDir(), "s")
	cmd := exec.Command(path, args(socket)...)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 1000 {
		if unix.Access(socket, unix.W_OK) == nil {
			return cmd.Process.Pid, socket
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.Fatalf("%s does not listen", program)
	return 0, ""
}

// cpuOf returns the processor time of a process in ns.
func cpuOf(pid int) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(int32(^pid<<3|2), &ts)
	return ts.Nano()
}

func BenchmarkServers(b *testing.B) {
	redisPID, redisSocket := server(b, "redis-server", func(s string) []string {
		return []string{"--port", "0", "--unixsocket", s, "--save", "", "--appendonly", "no"}
	})
	memPID, memSocket := server(b, "memcached", func(s string) []string {
		args := []string{"-s", s, "-m", "64"}
		if u, err := user.Current(); err == nil {
			args = append(args, "-u", u.Username) // root needs it
		}
		return args
	})
	dialRedis := func(b *testing.B) redisCache {
		c, err := redis.Dial("unix", redisSocket)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		return redisCache{c}
	}
	for _, how := range []string{"uniform", "zipf"} {
		for _, clients := range []int{1, 2} {
			run := func(name string, pid int, client func(b *testing.B) cacher) {
				b.Run(fmt.Sprintf("%s/%d/%s", how, clients, name), func(b *testing.B) {
					serve(b, how, clients, pid, client)
				})
			}
			run("kv.Cache", 0, func(b *testing.B) cacher {
				return cacherOf(b, "kv.Cache", shmemtest.Dir(b))
			})
			if memPID != 0 {
				run("memcached", memPID, func(*testing.B) cacher {
					c := memcache.New(memSocket)
					c.MaxIdleConns = clients
					return memcached{c}
				})
			}
			if redisPID != 0 {
				run("redis", redisPID, func(b *testing.B) cacher { return dialRedis(b) })
				run("redis-pipelined", redisPID, func(b *testing.B) cacher {
					return pipeline{dialRedis(b)}
				})
			}
		}
	}
}

// A pipeline is a redisCache that is used by pipelined.
type pipeline struct{ redisCache }

// serve measures clients that make calls at the same time. Each has a connection of its own.
func serve(b *testing.B, how string, clients, pid int, client func(b *testing.B) cacher) {
	entries := size(b)
	all := []cacher{client(b)}
	for range clients - 1 {
		if _, shared := all[0].(sharedCache); shared {
			all = append(all, all[0])
		} else {
			all = append(all, client(b))
		}
	}
	if p, ok := all[0].(pipeline); ok {
		fillCache(p.redisCache, entries)
	} else {
		fillCache(all[0], entries)
	}
	picks := pickers(how, entries, clients)
	before := int64(0)
	if pid != 0 {
		before = cpuOf(pid)
	}
	since := cpu(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for g, c := range all {
		wg.Go(func() {
			if p, ok := c.(pipeline); ok {
				p.pipelined(b.N/clients, picks[g])
			} else {
				workCache(c, b.N/clients, picks[g])
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	used := int64(cpu(b) - since)
	if pid != 0 {
		used += cpuOf(pid) - before
	}
	b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
}
