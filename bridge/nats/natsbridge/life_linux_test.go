package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

func init() { beatEvery, staleAfter = 50*time.Millisecond, 300*time.Millisecond }

// childEnv says that this process is a bridge that sends: URL and directory.
const childEnv = "NATSBRIDGE_TEST_OUT"

func TestMain(m *testing.M) {
	if url, dir, ok := strings.Cut(os.Getenv(childEnv), " "); ok {
		fmt.Fprintln(os.Stderr, child(url, dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func child(url, dir string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	b, err := New(nc, &Options{Dir: dir})
	if err != nil {
		return err
	}
	if err := b.Out("box:p"); err != nil {
		return err
	}
	return b.Run(context.Background())
}

// TestStopped: the other side sees since when a bridge that is stopped says nothing: in the body of
// /readyz, in the metrics, and beside the mirror. It sees when it goes on, too.
func TestStopped(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	owner := openBox[point](t, x.a)
	check(t, owner.Store(ctx, point{1, 2}))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+x.nc.ConnectedUrl()+" "+x.a)
	cmd.Stderr = os.Stderr
	check(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if _, err := LifeOf(x.b, "p"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	in := x.run(x.b, "box:p", false)
	stale := func() bool {
		_, stale := in.Stats()[0].Stale(time.Now())
		_, body := ready(in)
		l, err := LifeOf(x.b, "p")
		if err != nil {
			return false
		}
		_, beside := l.Stale(time.Now())
		return stale && beside && strings.Contains(body, "in box:p: stale since ")
	}
	fresh := func() bool {
		l, err := LifeOf(x.b, "p")
		if err != nil {
			return false
		}
		_, beside := l.Stale(time.Now())
		_, stale := in.Stats()[0].Stale(time.Now())
		return !stale && !beside && !l.Origin.IsZero()
	}
	until(t, "it lives", fresh)
	check(t, cmd.Process.Signal(syscall.SIGSTOP))
	until(t, "it is stale", stale)
	check(t, cmd.Process.Signal(syscall.SIGCONT))
	until(t, "it lives again", fresh)
}

// TestNoProgress: a route that sends is not ready while nothing of what is on its way is accepted,
// and is where there is nothing to send.
func TestNoProgress(t *testing.T) {
	was := stalled
	stalled = 300 * time.Millisecond
	defer func() { stalled = was }()
	ctx, x, w := t.Context(), newSite(t), &wire{}
	var err error
	x.nc, err = nats.Connect(x.nc.ConnectedUrl(), nats.SetCustomDialer(w),
		nats.PingInterval(time.Hour))
	check(t, err)
	t.Cleanup(x.nc.Close)
	box := openBox[point](t, x.a)
	check(t, box.Store(ctx, point{0, 1}))
	ticks, err := topic.Open[point]("ticks", &topic.Options{Dir: x.a})
	check(t, err)
	defer ticks.Close()
	jobs, err := queue.Open[point]("jobs", &queue.Options{Dir: x.a})
	check(t, err)
	defer jobs.Close()
	var all []*Bridge
	for _, route := range []string{"box:p", "topic:ticks", "queue:jobs"} {
		b := x.run(x.a, route, true)
		until(t, route+" runs", func() bool { return b.Stats()[0].State == "running" })
		all = append(all, b)
	}
	until(t, "the value", func() bool { return all[0].Stats()[0].Acked == 1 })
	time.Sleep(2 * stalled)
	for _, b := range all {
		until(t, "ready with nothing to send", func() bool { code, _ := ready(b); return code == 200 })
	}
	w.frozen.Lock()
	check(t, box.Store(ctx, point{1, 1}))
	check(t, ticks.Publish(ctx, point{1, 1}))
	check(t, jobs.Send(ctx, point{1, 1}))
	for _, b := range all {
		until(t, "no progress", func() bool {
			code, body := ready(b)
			return code == 503 && strings.Contains(body, ": no progress for ")
		})
	}
	w.frozen.Unlock()
	for _, b := range all {
		until(t, "ready again", func() bool { code, _ := ready(b); return code == 200 })
	}
}

// TestHangs: a route whose loop does not run is not alive.
func TestHangs(t *testing.T) {
	x := newSite(t)
	openBox[point](t, x.a)
	b := x.run(x.a, "box:p", true)
	until(t, "it runs", func() bool { return b.Stats()[0].State == "running" })
	check(t, b.Alive())
	if err := b.aliveAt(time.Now().Add(hung + time.Minute)); err == nil ||
		!strings.Contains(err.Error(), "out box:p hangs since ") {
		t.Error(err)
	}
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	if w.Code != http.StatusOK {
		t.Error(w.Code, w.Body)
	}
	_ = shmem.Remove(x.a, "p")
}
