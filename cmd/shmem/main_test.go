package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/psync"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

type Route struct {
	Name   shmem.Text[[16]byte]
	Weight int32
	Up     bool
}

type Config struct {
	Limit   uint64
	Ratio   float64
	Timeout time.Duration
	Routes  shmem.Vec[Route, [8]Route]
	Table   [64]uint16
	Key     [16]byte
	Hits    atomic.Uint64
	Mu      psync.Mutex
}

func (c *Config) Init() error {
	c.Limit, c.Ratio, c.Timeout = 100, 0.25, 1500*time.Millisecond
	for i, n := range []string{"default", "fallback"} {
		r := Route{Weight: int32(10 * (i + 1)), Up: i == 0}
		_ = r.Name.Set(n)
		_ = c.Routes.Append(r)
	}
	for i := range 10 {
		c.Table[i] = uint16(i * i)
	}
	return nil
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"shmem": main, "segment": segment})
}

// segment makes segments for the scripts and the eyes:
//
//	segment DIR kept|raw NAME        one that stays
//	segment DIR jobs NAME            a queue.Queue that stays, with 12 Jobs
//	segment DIR single NAME          a Single queue.Bytes with a message, whose sender stays
//	segment DIR topic NAME           a topic, and publishes a Tick each 5 ms
//	segment DIR hold NAME [ACTION]   opens it and stays until its input ends or it is killed
//
// Actions of hold: lock (psync), update (dies or waits inside Update), count (stores all the time), ro.
func segment() {
	log.SetFlags(0)
	dir, verb, name := os.Args[1], os.Args[2], os.Args[3]
	o := &shmem.Options{Dir: dir, Slots: 16}
	switch verb {
	case "kept":
		o.Kept = true
		b, err := shmem.Create[Config](name, o)
		if err != nil {
			log.Fatal(err)
		}
		_ = b.Close()
		return
	case "raw":
		o.Kept = true
		s, err := shmem.CreateSegment(name, 100, o)
		if err != nil {
			log.Fatal(err)
		}
		_, _ = s.WriteAt([]byte("raw bytes"), 0)
		_ = s.Close()
		return
	case "jobs":
		o.Kept = true
		q, err := queue.Create[Job](name, &queue.Options{Dir: o.Dir, Slots: o.Slots, Kept: o.Kept, Capacity: 16})
		if err != nil {
			log.Fatal(err)
		}
		for n := range uint32(13) {
			if err := q.Send(context.Background(), Job{N: n}); err != nil {
				log.Fatal(err)
			}
		}
		_, _ = q.Recv(context.Background())
		_ = q.Close()
		return
	}
	up := func() {
		if err := os.WriteFile(filepath.Join(os.Getenv("WORK"), name+"-up"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	stay := func() { _, _ = bufio.NewReader(os.Stdin).ReadString('\n'); time.Sleep(time.Hour) }
	switch verb {
	case "topic":
		publish(name, o, up)
	case "single":
		q, err := queue.CreateBytes(name, &queue.BytesOptions{Dir: o.Dir, Slots: o.Slots, Kept: o.Kept, Bytes: 1024, Single: true})
		if err != nil {
			log.Fatal(err)
		}
		for _, m := range []string{"first", "second"} {
			if err := q.Send(context.Background(), []byte(m)); err != nil {
				log.Fatal(err)
			}
		}
		up()
		stay()
	}
	b, err := shmem.Open[Config](name, o)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	action := ""
	if len(os.Args) > 4 {
		action = os.Args[4]
	}
	switch action {
	case "lock":
		_ = b.Value().Mu.Lock(context.Background())
	case "update":
		_ = b.Update(context.Background(), func(c *Config) error {
			c.Limit = 1
			up()
			stay()
			return nil
		})
	case "count":
		up()
		for n := uint64(0); ; n++ {
			_ = b.Update(context.Background(), func(c *Config) error { c.Limit = n; c.Hits.Add(1); return nil })
			time.Sleep(100 * time.Microsecond)
		}
	case "wait":
		go func() { _ = b.Wait(context.Background(), b.Version()) }()
		time.Sleep(50 * time.Millisecond)
	}
	up()
	stay()
}

// A Job is what the queue of the scripts is about.
type Job struct{ N uint32 }

// A Tick is what the topic of the scripts is about.
type Tick struct {
	N     uint64
	Price float64
	Name  shmem.Text[[16]byte]
}

// publish publishes until it is killed.
func publish(name string, o *shmem.Options, up func()) {
	t, err := topic.Create[Tick](name, &topic.Options{Dir: o.Dir, Slots: o.Slots, Kept: o.Kept, Capacity: 1 << 16, Holds: 4})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	for n := uint64(0); ; n++ {
		tick := Tick{N: n, Price: float64(n) / 4}
		_ = tick.Name.Set("ACME")
		if err := t.Publish(ctx, tick); err != nil {
			log.Fatal(err)
		}
		if n == 10 {
			up()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			dir, err := os.MkdirTemp("/dev/shm", "shmem-script-")
			if err != nil {
				dir = filepath.Join(e.WorkDir, "shm")
				err = os.Mkdir(dir, 0o700)
			}
			e.Defer(func() { _ = os.RemoveAll(dir) })
			e.Setenv("SHMEM_DIR", dir)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// up NAME waits until a segment's process is up.
			"up": func(ts *testscript.TestScript, _ bool, args []string) {
				for range 500 {
					if b, err := os.ReadFile(ts.MkAbs(args[0] + "-up")); err == nil && len(b) > 0 {
						ts.Setenv("PID", string(b))
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
				ts.Fatalf("%s is not up", args[0])
			},
			// code N COMMAND... wants an exit code.
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				got := 0
				if err != nil {
					got = -1
					if i := strings.LastIndex(err.Error(), "exit status "); i >= 0 {
						got, _ = strconv.Atoi(err.Error()[i+len("exit status "):])
					}
				}
				if fmt.Sprint(got) != args[0] {
					ts.Fatalf("exit code %d, want %s", got, args[0])
				}
			},
			// until REGEXP COMMAND... runs a command until its output matches.
			"until": func(ts *testscript.TestScript, _ bool, args []string) {
				re := regexp.MustCompile(args[0])
				for range 200 {
					if ts.Exec(args[1], args[2:]...) == nil && re.MatchString(ts.ReadFile("stdout")) {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
				ts.Fatalf("%s does not say %s", args[1:], args[0])
			},
			// corrupt FILE damages the control block; truncate FILE N.
			"corrupt": func(ts *testscript.TestScript, _ bool, args []string) {
				b, err := os.ReadFile(args[0])
				ts.Check(err)
				b[len(b)-4096+30] ^= 0xff
				ts.Check(os.WriteFile(args[0], b, 0o600))
			},
		},
	})
}
