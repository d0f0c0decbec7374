package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/bridge/nats/embedded"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until waits until f reports true.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for begun := time.Now(); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("%s: not in 30 s", what)
		}
	}
}

// hosts starts a server, and returns its URL and the directories of two hosts.
func hosts(t *testing.T) (url, a, b string) {
	t.Helper()
	s, err := embedded.Start(t.TempDir(), -1)
	check(t, err)
	t.Cleanup(s.Close)
	for _, dir := range []*string{&a, &b} {
		*dir, err = os.MkdirTemp("/dev/shm", "bridge-command-")
		check(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(*dir) })
	}
	return s.URL(), a, b
}

func write(t *testing.T, file, text string) {
	t.Helper()
	check(t, os.WriteFile(file, []byte(text), 0o600))
}

// TestRead: settings of the file and of flags, which have the last word; what is refused.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.json")
	write(t, good, `{"url": "nats://localhost:1", "prefix": "x", "leases": 7, "out": ["box:a"]}`)
	c, o, err := read([]string{"-c", good, "-prefix", "y", "-out", "queue:b", "-check"})
	check(t, err)
	if c.URL != "nats://localhost:1" || c.Prefix != "y" || c.Leases != 7 || !o.check ||
		strings.Join(c.Out, " ") != "box:a queue:b" {
		t.Errorf("%+v %+v", c, o)
	}
	for text, want := range map[string]string{
		`{"urls": "x"}`:                         `unknown field "urls"`,
		`{"leases": "many"}`:                    "leases",
		`{"url": "nats://localhost:1"} {"a":1}`: "more than one value",
		`{`:                                     "unexpected EOF",
		`{"url": "nats://localhost:1"}`:         "no route",
		`{"out": ["box:a"]}`:                    "no server",
		`{"url": "nats://far:1", "in": ["x"]}`:  "without TLS",
		`{"url": "tls://far:1", "in": ["x"], "cert": "c"}`: "need each other",
	} {
		file := filepath.Join(dir, "bad.json")
		write(t, file, text)
		if _, _, err := read([]string{"-c", file}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	for _, args := range [][]string{{"-c", filepath.Join(dir, "none")}, {"box:a"}, {"-nonsense"}} {
		if _, _, err := read(args); err == nil {
			t.Errorf("%q is not refused", args)
		}
	}
}

// TestCheckURL: another machine needs TLS, or a word that the network is trusted.
func TestCheckURL(t *testing.T) {
	for url, ok := range map[string]bool{
		"nats://localhost:4222": true, "nats://127.0.0.1:4222": true, "nats://[::1]:4222": true,
		"tls://far:4222": true, "wss://far": true, "TLS://far:4222": true,
		"nats://far:4222": false, "ws://far": false, "nats://0.0.0.0:4222": false,
		"nats://127.0.0.1.far:4222": false, "nats://10.0.0.1:4222": false,
		"tls://far:4222,nats://near:4222": false, "nats://localhost:1, tls://far:2": true,
		"": false, "localhost:4222": false, "far": false, "nats://": false, "nats://a b": false,
	} {
		if err := (&config{URL: url}).checkURL(); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
		if strings.HasPrefix(url, "nats://far") {
			check(t, (&config{URL: url, Plain: true}).checkURL())
			check(t, (&config{URL: url, CA: "ca.pem"}).checkURL())
		}
	}
	err := (&config{URL: "nats://me:secret@far:4222"}).checkURL()
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// TestQuoted: what other programs wrote does not reach the terminal as it is.
func TestQuoted(t *testing.T) {
	_, err := os.Open("/none/\x1b[2J\u202e\n")
	if s := quoted(err); strings.ContainsAny(s, "\x1b\u202e\n") || !strings.Contains(s, "?[2J??") {
		t.Errorf("%q", s)
	}
}

// TestOnce: -setup creates what -no-setup needs, and -check says what would be bridged.
func TestOnce(t *testing.T) {
	ctx := t.Context()
	url, a, _ := hosts(t)
	c := &config{URL: url, Dir: a, Out: []string{"box:b", "topic:t=other", "queue:q", "map:m"}}
	var out bytes.Buffer
	least := *c
	least.NoSetup = true
	if err := once(ctx, &out, &least, false); err == nil || !strings.Contains(err.Error(), "-setup") {
		t.Error(err)
	}
	out.Reset()
	check(t, once(ctx, &out, c, false))
	for _, want := range []string{"out box:b\n", "out topic:t\n", "out queue:q\n", "out map:m\n",
		"other: ", "(it is bridged once it is there)", "the server answers"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %q", want, out.String())
		}
	}
	nc, err := nats.Connect(url)
	check(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	check(t, err)
	if n := streams(t, js); n != 0 {
		t.Errorf("-check made %d streams", n)
	}
	for range 2 { // what is there stays
		check(t, once(ctx, &out, c, true))
	}
	check(t, once(ctx, &out, &least, false))
	if n := streams(t, js); n != 5 { // two buckets, and the dead letters
		t.Errorf("-setup made %d streams, want 5", n)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := once(short, &out, &config{URL: "nats://127.0.0.1:1", Out: []string{"box:b"}}, false); err == nil ||
		!strings.Contains(err.Error(), "-url") {
		t.Error(err)
	}
	if err := once(ctx, &out, &config{URL: url, Out: []string{"box"}}, false); err == nil {
		t.Error("there is no such route")
	}
}

func streams(t *testing.T, js jetstream.JetStream) (n int) {
	t.Helper()
	all := js.ListStreams(t.Context())
	for range all.Info() {
		n++
	}
	check(t, all.Err())
	return n
}

// A buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.b.String(), s)
}

// TestReload: a signal makes the bridge read its file again. A file that is wrong changes nothing.
func TestReload(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	url, a, b := hosts(t)
	told := notified(t)
	log := logged(t)
	for _, name := range []string{"one", "two"} {
		x, err := shmem.Open[int64](name, &shmem.Options{Dir: a})
		check(t, err)
		defer x.Close()
	}
	file := filepath.Join(t.TempDir(), "c.json")
	settings := func(more string) string {
		return `{"url": "` + url + `", "dir": "` + a + `", ` + more + `}`
	}
	write(t, file, settings(`"out": ["box:one"], "http": "127.0.0.1:0"`))
	args := []string{"-c", file}
	c, _, err := read(args)
	check(t, err)
	hup, done := make(chan os.Signal), make(chan error, 1)
	go func() { done <- reloading(ctx, args, c, hup) }()
	in, _, err := read([]string{"-url", url, "-dir", b, "-in", "box:one", "-in", "box:two"})
	check(t, err)
	ended := make(chan error, 1)
	go func() { ended <- reloading(ctx, nil, in, nil) }()
	there := func(name string) func() bool {
		return func() bool { _, err := shmem.Stat(b, name); return err == nil }
	}
	until(t, "the first", there("one"))
	for i, bad := range []string{
		`{`, settings(`"out": ["box"]`), settings(`"out": []`), settings(`"out": ["box:one"], "ca": "none"`),
		settings(`"out": ["box:one"], "creds": "none"`),
		settings(`"out": ["box:one"], "http": "127.0.0.1:99999"`),
	} {
		write(t, file, bad)
		hup <- nil
		until(t, bad, func() bool { return log.count("the settings stay as they are") == i+1 })
	}
	write(t, file, settings(`"out": ["box:one", "box:two"], "http": "127.0.0.1:0"`))
	hup <- nil
	until(t, "the second", there("two"))
	for told() != "READY=1" { // of the first
	}
	for s := told(); s != "READY=1"; s = told() {
		if s == "STOPPING=1" {
			t.Fatal("systemd ends a process that says so")
		}
	}
	stop()
	check(t, <-done)
	check(t, <-ended)
}

// notified makes a socket of systemd, and returns a function that waits for the next message.
func notified(t *testing.T) (next func() string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	check(t, err)
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return func() string {
		t.Helper()
		b := make([]byte, 100)
		check(t, l.SetReadDeadline(time.Now().Add(30*time.Second)))
		n, err := l.Read(b)
		check(t, err)
		return string(b[:n])
	}
}

// logged returns what is logged from now on.
func logged(t *testing.T) *buffer {
	t.Helper()
	log, was := new(buffer), slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(func() { slog.SetDefault(was) })
	return log
}

// TestTakenOver: a process whose routes another one has taken stays: what starts processes again
// would make the two take them from each other for ever.
func TestTakenOver(t *testing.T) {
	url, a, _ := hosts(t)
	log := logged(t)
	x, err := shmem.Open[int64]("p", &shmem.Options{Dir: a})
	check(t, err)
	defer x.Close()
	c := &config{URL: url, Dir: a, Out: []string{"box:p"}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 2)
	go func() { done <- serve(ctx, c) }()
	nc, err := nats.Connect(url)
	check(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	check(t, err)
	until(t, "it sends", func() bool {
		k, err := js.KeyValue(ctx, "shmem")
		if err != nil {
			return false
		}
		_, err = k.Get(ctx, "box.p")
		return err == nil
	})
	go func() { done <- serve(ctx, c) }()
	until(t, "it is taken over", func() bool {
		return log.count("other bridges have all routes") == 1
	})
	select {
	case err := <-done:
		t.Fatal("it has ended", err)
	case <-time.After(50 * time.Millisecond):
	}
	stop()
	check(t, <-done)
	check(t, <-done)
}

// TestEmbedded: the demonstration shows all four live.
func TestEmbedded(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var out buffer
	done := make(chan error, 1)
	go func() { done <- demo(ctx, &out) }()
	until(t, "a line", func() bool { return out.count("map sessions: ") > 0 })
	stop()
	check(t, <-done)
	if out.count("host b: box cfg ") == 0 || out.count("jobs: 0 done") > 0 {
		t.Error(out.b.String())
	}
}
