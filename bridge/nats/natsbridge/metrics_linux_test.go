package natsbridge

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// valueOf returns a metric of a bridge's only route.
func valueOf(t *testing.T, b *Bridge, name string) float64 {
	t.Helper()
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if rest, ok := strings.CutPrefix(line, "shmem_bridge_"+name+"{"); ok {
			var v float64
			_, text, _ := strings.Cut(rest, "} ")
			_, err := fmt.Sscan(text, &v)
			check(t, err)
			return v
		}
	}
	t.Fatalf("no metric %s in %s", name, w.Body)
	return 0
}

// TestMetrics: each metric counts what its help says.
func TestMetrics(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	moved := map[string]bool{}
	is := func(b *Bridge, name string, want float64) {
		t.Helper()
		until(t, name, func() bool { return valueOf(t, b, name) == want })
		moved[name] = true
	}
	some := func(b *Bridge, name string) {
		t.Helper()
		until(t, name, func() bool { return valueOf(t, b, name) > 0 })
		moved[name] = true
	}

	box := openBox[point](t, x.a)
	check(t, box.Store(ctx, point{1, 1}))
	out, in := x.run(x.a, "box:p", true), x.run(x.b, "box:p", false)
	is(in, "sent_total", 1)
	is(in, "running", 1)
	some(in, "origin_seconds")
	until(t, "conflated", func() bool {
		for range 1000 {
			check(t, box.Store(ctx, point{1, 1}))
		}
		return valueOf(t, out, "conflated_total") > 0
	})
	moved["conflated_total"] = true
	mirror, err := shmem.Attach[point]("p", &shmem.Options{Dir: x.b})
	check(t, err)
	defer mirror.Close()
	check(t, mirror.Store(ctx, point{8, 8}))
	some(in, "local_writes_total")
	check(t, shmem.Remove(x.b, "p"))
	some(in, "resets_total")
	x.run(x.a, "box:p", true)
	is(out, "other_writer_total", 1)

	ticks, err := topic.Open[point]("ticks", &topic.Options{Dir: x.a, Capacity: 8})
	check(t, err)
	defer ticks.Close()
	_, err = ticks.PublishBatch(ctx, make([]point, 20))
	check(t, err)
	is(x.run(x.a, "topic:ticks", true), "sent_total", 8)
	is(x.run(x.b, "topic:ticks", false), "lost_total", 12)

	jobs, err := queue.Open[point]("jobs", &queue.Options{Dir: x.a})
	check(t, err)
	defer jobs.Close()
	check(t, jobs.Send(ctx, point{1, 1}))
	l, err := jobs.Take(ctx)
	check(t, err)
	check(t, l.Back(0))
	out = x.run(x.a, "queue:jobs", true)
	is(out, "redelivered_total", 1)
	is(out, "acknowledged_total", 1)
	is(out, "in_flight", 0)
	js, err := jetstream.New(x.nc)
	check(t, err)
	f := frame{kind: codes[kindQueue], incarnation: 5, sequence: 9}
	last := x.run(x.b, "queue:other", false)
	for _, b := range [][]byte{append(f.append(nil), "x"...), append(f.append(nil), "x"...),
		[]byte("no frame")} {
		until(t, "the stream", func() bool {
			_, err := js.Publish(ctx, "shmem.queue.other", b)
			return err == nil
		})
	}
	is(last, "duplicates_total", 1)
	is(last, "poison_total", 1)
	for range 600 { // more than the 16 MiB of the mirror
		f.sequence++
		_, err := js.PublishAsync("shmem.queue.other", append(f.append(nil), make([]byte, 40<<10)...),
			jetstream.WithStallWait(time.Minute))
		check(t, err)
	}
	some(last, "lag")
	moved["evicted_total"], moved["no_room"] = true, true // of maps, which have tests of their own
	for i := range metrics {
		if !moved[metrics[i].name] {
			t.Errorf("%s is not tested", metrics[i].name)
		}
	}
}
