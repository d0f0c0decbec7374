package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/embedded"
	"github.com/shmembox/shmem/bridge/nats/natsbridge"
	"github.com/shmembox/shmem/internal/step"
)

// room is how many messages of the topic fit in its ring, and in the mirrors: what comes after the
// longest cut must not pass by the reader of the mirror.
const room = 1 << 17

// An item is a value and a message.
type item struct {
	N   uint64
	At  int64 // when it was sent, Unix nanoseconds
	Pad [48]byte
}

// routes are what goes from one directory to the other.
var routes = []string{"box:cfg", "topic:ticks", "queue:jobs", "map:users"}

// roles are what a child process does, by its first argument.
var roles = map[string]func(ctx context.Context, args []string) error{
	"server": serverRole, "out": outRole, "in": inRole, "owner": ownerRole,
}

// child runs a role, which ends with its parent.
func child(role string, args []string) error {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	return roles[role](context.Background(), args)
}

// A node is what a server is told.
type node struct {
	Store        string
	I            int
	Ports, Links []int
}

// serverRole runs a server, alone if it has no links, and says when clients can connect.
func serverRole(_ context.Context, args []string) (err error) {
	var n node
	if err := json.Unmarshal([]byte(args[0]), &n); err != nil {
		return err
	}
	if len(n.Ports) == 1 {
		_, err = embedded.Start(n.Store, n.Ports[0])
	} else {
		_, err = embedded.Join(n.Store, n.I, n.Ports, n.Links)
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

// Environment of a bridge.
const (
	dieAt = "SHMEM_BRIDGE_DIE"     // POINT:N, it dies when it reaches the step so often
	notes = "SHMEM_BRIDGE_REACHED" // file, to which each step that is reached is appended
)

// hook does what the environment says.
func hook() error {
	if s := os.Getenv(dieAt); s != "" {
		at, count, err := parseDie(s)
		if err != nil {
			return err
		}
		var reached atomic.Int64
		step.Hook(func(p step.Point) {
			if p == at && reached.Add(1) == count {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		})
	}
	if name := os.Getenv(notes); name != "" {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		var seen sync.Map
		step.Hook(func(p step.Point) {
			if _, ok := seen.LoadOrStore(p, true); !ok {
				fmt.Fprintln(f, p)
			}
		})
	}
	return nil
}

func parseDie(s string) (p step.Point, n int64, err error) {
	for i := len(s) - 1; i > 0; i-- {
		if s[i] == ':' {
			n, err = strconv.ParseInt(s[i+1:], 10, 64)
			return step.Point(s[:i]), n, err
		}
	}
	return "", 0, fmt.Errorf("%q is no POINT:N", s)
}

// reachedIn returns the steps in a file of notes.
func reachedIn(name string) (all []step.Point, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	seen := map[step.Point]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if p := step.Point(s.Text()); !seen[p] {
			seen[p], all = true, append(all, p)
		}
	}
	return all, nil
}

func outRole(ctx context.Context, args []string) error { return bridge(ctx, args, true) }
func inRole(ctx context.Context, args []string) error  { return bridge(ctx, args, false) }

// connect connects as the command does, and finds out sooner that a link hangs.
func connect(url string) (*nats.Conn, error) {
	return nats.Connect(url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2))
}

// bridge is args: URL, directory, replicas.
func bridge(ctx context.Context, args []string, out bool) error {
	if err := hook(); err != nil {
		return err
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + len(routes))
	nc, err := connect(args[0])
	if err != nil {
		return err
	}
	replicas, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	o := &natsbridge.Options{Dir: args[1], Replicas: replicas, Capacity: room}
	if name := os.Getenv("SHMEM_BRIDGE_LOG"); name != "" { // to find out why something was lost
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		o.Logger = slog.New(slog.NewTextHandler(f, nil)).With("pid", os.Getpid(), "out", out)
	}
	b, err := natsbridge.New(nc, o)
	if err != nil {
		return err
	}
	if os.Getenv("SHMEM_BRIDGE_STATS") != "" {
		go func() {
			for range time.Tick(time.Second) {
				for _, s := range b.Stats() {
					fmt.Fprintf(os.Stderr, "%+v\n", s)
				}
			}
		}()
	}
	add := b.In
	if out {
		add = b.Out
	}
	if err := add(routes...); err != nil {
		return err
	}
	return b.Run(ctx)
}

// ownerRole owns the box, and stores a number that grows across its lives: the time.
func ownerRole(ctx context.Context, args []string) error {
	b, err := shmem.Open[item]("cfg", &shmem.Options{Dir: args[0]})
	if err != nil {
		return err
	}
	for {
		now := time.Now().UnixNano()
		if err := b.Store(ctx, item{N: uint64(now), At: now}); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
