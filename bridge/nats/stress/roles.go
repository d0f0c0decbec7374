package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/embedded"
	"github.com/shmembox/shmem/bridge/nats/natsbridge"
)

// An item is a value and a message.
type item struct {
	N   uint64
	Pad [56]byte
}

// routes are what goes from one directory to the other.
var routes = []string{"box:cfg", "topic:ticks", "queue:jobs"}

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

func serverRole(_ context.Context, args []string) error {
	port, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if _, err := embedded.Start(args[0], port); err != nil {
		return err
	}
	select {}
}

func outRole(ctx context.Context, args []string) error { return bridge(ctx, args, true) }
func inRole(ctx context.Context, args []string) error  { return bridge(ctx, args, false) }

func bridge(ctx context.Context, args []string, out bool) error {
	nc, err := nats.Connect(args[0], nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ReconnectJitter(20*time.Millisecond, 0),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2))
	if err != nil {
		return err
	}
	b, err := natsbridge.New(nc, &natsbridge.Options{Dir: args[1]})
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

// ownerRole owns the box, and stores a number that grows across its lives.
func ownerRole(ctx context.Context, args []string) error {
	b, err := shmem.Open[item]("cfg", &shmem.Options{Dir: args[0]})
	if err != nil {
		return err
	}
	for {
		if err := b.Store(ctx, item{N: uint64(time.Now().UnixNano())}); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
