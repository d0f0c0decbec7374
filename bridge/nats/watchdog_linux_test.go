package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestWatchdog: systemd is told that the bridge is ready and lives, and nothing while a route
// hangs.
func TestWatchdog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(30_000))
	var hangs atomic.Bool
	asked := make(chan bool, 1000)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		watchdog(ctx, func() error {
			asked <- hangs.Load()
			if hangs.Load() {
				return errors.New("a route hangs")
			}
			return nil
		})
	}()
	got := func(limit time.Duration) string {
		b := make([]byte, 100)
		_ = l.SetReadDeadline(time.Now().Add(limit))
		n, err := l.Read(b)
		if err != nil {
			return ""
		}
		return string(b[:n])
	}
	raw, err := l.SyscallConn()
	check(t, err)
	said := func() string { // what has come, without a time limit that a loaded machine can miss
		b := make([]byte, 100)
		n := 0
		check(t, l.SetReadDeadline(time.Time{}))
		check(t, raw.Read(func(fd uintptr) bool {
			n, _, _ = syscall.Recvfrom(int(fd), b, syscall.MSG_DONTWAIT)
			return true
		}))
		return string(b[:max(n, 0)])
	}
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if s := got(30 * time.Second); s != want {
			t.Errorf("%q, want %q", s, want)
		}
	}
	hangs.Store(true)
	for range 2 { // asked twice since
		for !<-asked {
		}
	}
	for said() != "" { // before
	}
	for range 2 {
		for !<-asked {
		}
	}
	if s := said(); s != "" {
		t.Errorf("%q of a bridge that hangs", s)
	}
	hangs.Store(false)
	if s := got(30 * time.Second); s != "WATCHDOG=1" {
		t.Errorf("%q of one that lives again", s)
	}
	stop()
	<-done
	stopping()
	for s := got(30 * time.Second); s != "STOPPING=1"; s = got(30 * time.Second) {
		if s == "" {
			t.Fatal("no word of the end")
		}
	}
}
