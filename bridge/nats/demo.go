package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/embedded"
	"github.com/shmembox/shmem/bridge/nats/natsbridge"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// A reading is what the demonstration sends.
type reading struct {
	N  int64
	At int64 // Unix nanoseconds
}

// A user is a key of the map of sessions.
type user = shmem.Text[[16]byte]

// userName returns one of a hundred names.
func userName(n int64) (u user) {
	_ = u.Set(fmt.Sprintf("user-%02d", n%100))
	return u
}

// demo runs a server and two hosts, which are directories, and shows what arrives at the second.
func demo(ctx context.Context, w io.Writer) error {
	root, err := os.MkdirTemp("/dev/shm", "shmem-bridge-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	for _, dir := range []string{a, b} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	store, err := os.MkdirTemp("", "shmem-bridge-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(store)
	s, err := embedded.Start(store, -1)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Fprintf(w, "server %s, host a %s, host b %s\n", s.URL(), a, b)
	ends := []func(context.Context) error{
		func(ctx context.Context) error { return host(ctx, s.URL(), a, true) },
		func(ctx context.Context) error { return host(ctx, s.URL(), b, false) },
		func(ctx context.Context) error { return produce(ctx, a) },
		func(ctx context.Context) error { return show(ctx, w, b) },
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	for _, f := range ends {
		go func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
			done <- struct{}{}
		}()
	}
	for range ends {
		<-done
	}
	if err := context.Cause(ctx); err != context.Canceled && err != context.DeadlineExceeded {
		return err
	}
	return nil
}

// host runs the bridge of one host.
func host(ctx context.Context, url, dir string, out bool) error {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	b, err := natsbridge.New(nc, &natsbridge.Options{Dir: dir})
	if err != nil {
		return err
	}
	add := b.In
	if out {
		add = b.Out
	}
	if err := add("box:cfg", "topic:ticks", "queue:jobs", "map:sessions"); err != nil {
		return err
	}
	return b.Run(ctx)
}

// produce changes a box and a map, and sends to a topic and a queue, ten times a second.
func produce(ctx context.Context, dir string) error {
	cfg, err := shmem.Open[reading]("cfg", &shmem.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { _ = cfg.Close() }()
	ticks, err := topic.Open[reading]("ticks", &topic.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { _ = ticks.Close() }()
	jobs, err := queue.Open[reading]("jobs", &queue.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { _ = jobs.Close() }()
	users, err := kv.Open[user, reading]("sessions", &kv.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { _ = users.Close() }()
	for n := int64(1); ; n++ {
		v := reading{N: n, At: time.Now().UnixNano()}
		if err := cfg.Store(ctx, v); err != nil {
			return err
		}
		if err := ticks.Publish(ctx, v); err != nil {
			return err
		}
		if err := jobs.Send(ctx, v); err != nil {
			return err
		}
		// Each of the users goes two seconds after it was seen last.
		if err := users.SetFor(ctx, userName(n), v, 2*time.Second); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// show prints a line each second: what the mirrors have.
func show(ctx context.Context, w io.Writer, dir string) error {
	cfg, err := shmem.AttachWait[reading](ctx, "cfg", &shmem.Options{Dir: dir, Passive: true})
	if err != nil {
		return err
	}
	defer func() { _ = cfg.Close() }()
	ticks, err := topic.AttachWait[reading](ctx, "ticks", &topic.Options{Dir: dir, Passive: true})
	if err != nil {
		return err
	}
	defer func() { _ = ticks.Close() }()
	jobs, err := queue.AttachWait[reading](ctx, "jobs", &queue.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { _ = jobs.Close() }()
	users, err := kv.AttachWait[user, reading](
		ctx, "sessions", &kv.Options{Dir: dir, Passive: true})
	if err != nil {
		return err
	}
	defer func() { _ = users.Close() }()
	go func() {
		for _, err := range jobs.All(ctx) {
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		v, err := cfg.Load(ctx)
		if err != nil {
			return err
		}
		tick, _, _ := ticks.Latest()
		st, err := jobs.Stats()
		if err != nil {
			return err
		}
		here := 0
		for _, err := range users.All() {
			if err != nil {
				return err
			}
			here++
		}
		fmt.Fprintf(w, "host b: box cfg %d, topic ticks %d, queue jobs: %d done, "+
			"map sessions: %d users\n", v.N, tick.N, st.Received, here)
	}
}
