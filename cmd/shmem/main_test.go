package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
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
	testscript.Main(cleaning{m}, map[string]func(){"shmem": main, "segment": makeSegment})
}

// built returns the path of the command, which is built once. The scripts run the command that is
// part of this program, with the race detector if there is one; the tests that run it a thousand
// times run this one.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "shmem-built-")
	if err != nil {
		return "", err
	}
	builtDir = dir
	bin := filepath.Join(dir, "shmem")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

var builtDir string // written by built, read after the tests

// cleaning removes what built has made, after the tests.
type cleaning struct{ *testing.M }

func (c cleaning) Run() int {
	defer func() {
		if builtDir != "" {
			os.RemoveAll(builtDir)
		}
	}()
	return c.M.Run()
}

// makeSegment makes segments for the scripts:
//
//	segment DIR kept|raw NAME        one that stays
//	segment DIR jobs NAME            a queue.Queue that stays, with 12 Jobs
//	segment DIR single NAME          a Single queue.Bytes with two messages, whose sender stays
//	segment DIR topic NAME           a topic, and publishes a Tick each 5 ms
//	segment DIR hold NAME [ACTION]   opens a box and stays until it is killed
//
//	segment DIR lease NAME           stays inside RecvFunc of a queue of Jobs
//	segment DIR owned NAME           a queue.Queue that ends with it, with 2 Jobs, and stays
//	segment DIR promise NAME         promises to set an Event, and stays
//	segment DIR files NAME           opens a box, and nearly all files that it may have, and stays
//	segment DIR behind NAME          subscribes to a topic of Ticks with a hold, and stays
//
// A process that stays writes its pid to the file NAME-up when it is ready. The actions of hold are
// lock (a psync.Mutex), update (stays inside Update), view (inside View), count (changes the value all
// the time) and wait (waits for a change).
func makeSegment() {
	log.SetFlags(0)
	dir, verb, name := os.Args[1], os.Args[2], os.Args[3]
	o := &shmem.Options{Dir: dir, Slots: 16}
	if verb != "hold" && verb != "topic" && verb != "single" && verb != "attached" {
		o.Lifetime = shmem.Kept
	}
	switch verb {
	case "kept":
		b, err := shmem.Create[Config](name, o)
		check(err)
		check(b.Close())
	case "raw":
		s, err := shmem.CreateSegment(name, 100, o)
		check(err)
		_, err = s.WriteAt([]byte("raw bytes"), 0)
		check(err)
		check(s.Close())
	case "jobs":
		jobs(name, o)
	case "single":
		single(name, o)
	case "attached":
		_, err := shmem.AttachSegment(name, &shmem.Options{Dir: dir})
		check(err)
		up(name + "-attached")
		stay()
	case "topic":
		publishTicks(name, o)
	case "lease":
		lease(name, o)
	case "behind":
		behind(name, o)
	case "promise":
		b, err := shmem.Open[Promised](name, o)
		check(err)
		check(b.Value().Set.Promise())
		up(name)
		stay()
	case "files":
		fewFiles(name, o)
	case "owned":
		owned(name, o)
	case "hold":
		hold(name, o, os.Args[4:])
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// up says that the process is ready.
func up(name string) {
	check(os.WriteFile(filepath.Join(os.Getenv("WORK"), name+"-up"),
		[]byte(strconv.Itoa(os.Getpid())), 0o600))
}

// stay stays until the process is killed.
func stay() {
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	time.Sleep(time.Hour)
}

func jobs(name string, o *shmem.Options) {
	q, err := queue.Create[Job](name, &queue.Options{Dir: o.Dir, Slots: o.Slots, Lifetime: o.Lifetime,
		Capacity: 16})
	check(err)
	for n := range uint32(13) {
		check(q.Send(context.Background(), Job{N: n}))
	}
	_, err = q.Recv(context.Background())
	check(err)
	check(q.Close())
}

func single(name string, o *shmem.Options) {
	q, err := queue.CreateBytes(name, &queue.BytesOptions{Dir: o.Dir, Slots: o.Slots, Bytes: 1024,
		Single: true})
	check(err)
	for _, m := range []string{"first", "second"} {
		check(q.Send(context.Background(), []byte(m)))
	}
	up(name)
	stay()
}

func hold(name string, o *shmem.Options, action []string) {
	ctx := context.Background()
	b, err := shmem.Open[Config](name, o)
	check(err)
	defer b.Close()
	switch strings.Join(action, " ") {
	case "lock":
		check(b.Value().Mu.Lock(ctx))
	case "view":
		check(b.View(ctx, func(*Config) error {
			up(name)
			stay()
			return nil
		}))
	case "update":
		check(b.Update(ctx, func(c *Config) error {
			c.Limit = 1
			up(name)
			stay()
			return nil
		}))
	case "count":
		up(name)
		for n := uint64(0); ; n++ {
			check(b.Update(ctx, func(c *Config) error { c.Limit = n; c.Hits.Add(1); return nil }))
			time.Sleep(100 * time.Microsecond)
		}
	case "wait":
		go func() { _ = b.Wait(ctx, b.Version()) }()
		time.Sleep(50 * time.Millisecond)
	}
	up(name)
	stay()
}

// lease receives a message and does not let it go.
func lease(name string, o *shmem.Options) {
	q, err := queue.Attach[Job](name, &queue.Options{Dir: o.Dir})
	check(err)
	check(q.RecvFunc(context.Background(), func(*Job) error {
		up(name)
		stay()
		return nil
	}))
}

// A Promised is a value with an event.
type Promised struct{ Set psync.Event }

func owned(name string, o *shmem.Options) {
	q, err := queue.Create[Job](name, &queue.Options{Dir: o.Dir, Lifetime: shmem.Owned})
	check(err)
	for range 2 {
		check(q.Send(context.Background(), Job{}))
	}
	up(name)
	stay()
}

// behind subscribes to a topic and receives nothing.
func behind(name string, o *shmem.Options) {
	t, err := topic.Attach[Tick](name, &topic.Options{Dir: o.Dir})
	check(err)
	_, err = t.Subscribe(topic.Now)
	check(err)
	up(name)
	stay()
}

// A Job is a message of the queue in the scripts.
type Job struct{ N uint32 }

// A Tick is a message of the topic in the scripts.
type Tick struct {
	N     uint64
	Price float64
	Name  shmem.Text[[16]byte]
}

// publishTicks publishes until the process is killed.
func publishTicks(name string, o *shmem.Options) {
	t, err := topic.Create[Tick](name, &topic.Options{Dir: o.Dir, Slots: o.Slots, Lifetime: o.Lifetime,
		Capacity: 1 << 16, Holds: 4})
	check(err)
	ctx := context.Background()
	for n := uint64(0); ; n++ {
		tick := Tick{N: n, Price: float64(n) / 4}
		check(tick.Name.Set("ACME"))
		check(t.Publish(ctx, tick))
		if n == 10 {
			up(name)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestScripts runs the scenarios of testdata, each in a directory of its own for segments,
// $SHMEM_DIR.
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
			"up": waitUp, "code": wantCode, "until": waitUntil, "corrupt": corrupt,
		},
	})
}

// up NAME waits until the process of a segment is ready, and sets $PID to its pid.
func waitUp(ts *testscript.TestScript, _ bool, args []string) {
	for range 6000 {
		if b, err := os.ReadFile(ts.MkAbs(args[0] + "-up")); err == nil && len(b) > 0 {
			ts.Setenv("PID", string(b))
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s is not up", args[0])
}

// code N COMMAND... runs a command that must end with an exit code.
func wantCode(ts *testscript.TestScript, _ bool, args []string) {
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
}

// until REGEXP COMMAND... runs a command until its output matches.
func waitUntil(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile(args[0])
	for range 3000 {
		if ts.Exec(args[1], args[2:]...) == nil && re.MatchString(ts.ReadFile("stdout")) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s does not say %s", args[1:], args[0])
}

// corrupt FILE damages the control block.
func corrupt(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(args[0])
	ts.Check(err)
	b[len(b)-4096+30] ^= 0xff
	ts.Check(os.WriteFile(args[0], b, 0o600))
}
