package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// A result is what came out.
type result struct {
	plan
	topicSent, topicGot, topicGaps, topicTwice uint64
	queueSent, queueGot, queueTwice            uint64
	boxSeen, boxBack                           uint64
	mapSeen, mapBack                           uint64
	stepKills, libraryKills                    uint64
	times                                      *times
}

func (r *result) lost() uint64 { return r.queueSent - (r.queueGot - r.queueTwice) }

func (r *result) String() string {
	return fmt.Sprintf("kills: %d of bridges, %d of servers, %d of owners, %d at steps of the "+
		"bridge, %d at steps of the library; %d cuts, %d holds; %d replicas\n"+
		"topic: sent %d, received %d, gaps %d, twice %d\n"+
		"queue: sent %d, received %d, lost %d, twice %d\n"+
		"box: %d values seen, %d went back\n"+
		"map: %d values seen, %d went back%v",
		r.bridges, r.servers, r.owners, r.stepKills, r.libraryKills, r.cuts, r.holds, r.replicas,
		r.topicSent, r.topicGot, r.topicGaps,
		r.topicTwice, r.queueSent, r.queueGot, r.lost(), r.queueTwice, r.boxSeen,
		r.boxBack, r.mapSeen, r.mapBack, r.times)
}

func (r *result) err() error {
	wrong := r.topicGaps + r.topicTwice + r.lost() + r.queueTwice + r.boxBack + r.mapBack
	if wrong > 0 || r.topicGot != r.topicSent {
		return errors.New("something was lost, came twice or went back")
	}
	return nil
}

// A world is all processes of a run, and the directories of two hosts.
type world struct {
	p              plan
	a, b, store    string
	servers        *servers
	owner, out, in *process
	r              result
	rnd            *rand.Rand
	ticks          *topic.Topic[item]
	jobs           *queue.Queue[item]
	users          *kv.Map[uint64, item]
	through        through
	times          times
}

// run does what the plan says, waits until all has arrived, and returns what came out.
func run(ctx context.Context, p plan) (*result, error) {
	w := &world{p: p, rnd: rand.New(rand.NewPCG(p.seed, 1))}
	w.r.plan, w.r.times = p, &w.times
	defer w.close()
	if err := w.open(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	sending, enough := context.WithCancel(ctx)
	defer enough()
	done := make(chan struct{})
	count := 0
	for _, f := range []func(context.Context) error{
		w.recvTopic, w.recvQueue, w.watchBox, w.watchMap, w.bare,
	} {
		count++
		go func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				stop(err)
			}
			done <- struct{}{}
		}()
	}
	sent := make(chan error, 1)
	go func() { sent <- w.send(sending) }()
	err := w.harm(ctx)
	enough()
	if serr := <-sent; err == nil {
		err = serr
	}
	if err == nil {
		err = w.drain(ctx)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	stop(nil)
	for range count {
		<-done
	}
	return &w.r, errors.Join(err, w.r.err())
}

// open makes the directories, and starts all.
func (w *world) open() (err error) {
	for name, dir := range map[string]*string{"a": &w.a, "b": &w.b} {
		if *dir, err = os.MkdirTemp("/dev/shm", "bridge-stress-"+name+"-"); err != nil {
			return err
		}
	}
	if w.store, err = os.MkdirTemp("", "bridge-stress-"); err != nil {
		return err
	}
	if w.servers, err = startServers(w.p.replicas, w.store); err != nil {
		return err
	}
	w.ticks, err = topic.Open[item]("ticks", &topic.Options{Dir: w.a, Capacity: room})
	if err != nil {
		return err
	}
	w.jobs, err = queue.Open[item]("jobs", &queue.Options{Dir: w.a, Capacity: 4096})
	if err != nil {
		return err
	}
	if w.users, err = openMap(w.a); err != nil {
		return err
	}
	replicas := strconv.Itoa(w.p.replicas)
	w.owner = &process{args: []string{"owner", w.a}}
	w.out = &process{args: []string{"out", w.servers.url, w.a, replicas}}
	w.in = &process{args: []string{"in", w.servers.url, w.b, replicas}}
	for _, p := range []*process{w.owner, w.out, w.in} {
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() {
	for _, p := range []*process{w.owner, w.out, w.in} {
		if p != nil && p.cmd != nil && p.cmd.Process != nil {
			p.kill()
		}
	}
	if w.servers != nil {
		w.servers.close()
	}
	if w.ticks != nil {
		_ = w.ticks.Close()
	}
	if w.jobs != nil {
		_ = w.jobs.Close()
	}
	if w.users != nil {
		_ = w.users.Close()
	}
	for _, dir := range []string{w.a, w.b, w.store} {
		if dir != "" && filepath.IsAbs(dir) {
			_ = os.RemoveAll(dir)
		}
	}
}

// harm kills and cuts in a random order.
func (w *world) harm(ctx context.Context) error {
	if err := w.recovered(ctx, "", false, time.Now()); err != nil { // all runs
		return err
	}
	deaths, library, err := parseDeaths(w.p.steps)
	if err != nil {
		return err
	}
	if library {
		more, err := w.library(ctx)
		if err != nil {
			return err
		}
		deaths = append(deaths, more...)
	}
	all := w.kills(ctx)
	for _, d := range deaths {
		for range w.p.each {
			all = append(all, func() error { return w.die(ctx, d) })
		}
	}
	w.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, f := range all {
		time.Sleep(time.Duration(w.rnd.Int64N(int64(2*w.p.pause) + 1)))
		if ctx.Err() != nil {
			return nil
		}
		if err := f(); err != nil {
			return err
		}
	}
	return w.recovered(ctx, "", false, time.Now())
}

// kills are what harm does beside kills at steps.
func (w *world) kills(ctx context.Context) (all []func() error) {
	for i := range w.p.bridges {
		all = append(all, []*process{w.out, w.in}[i%2].again)
	}
	for i := range w.p.servers {
		all = append(all, func() error { return w.killServer(ctx, i) })
	}
	for range w.p.owners {
		all = append(all, w.owner.again)
	}
	for range w.p.cuts {
		all = append(all, func() error { return w.breakLink(ctx, afterCut, w.servers.set) })
	}
	for range w.p.holds {
		all = append(all, func() error { return w.breakLink(ctx, afterHold, w.servers.hold) })
	}
	return all
}

// breakLink breaks the link for 0.1 s to the plan's longest cut.
func (w *world) breakLink(ctx context.Context, harm string, broken func(bool)) error {
	whole := w.whole()
	broken(true)
	sleep(ctx, 100*time.Millisecond+rand.N(max(w.p.cut-100*time.Millisecond, 1)))
	broken(false)
	return w.recovered(ctx, harm, whole, time.Now())
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// killServer kills a server and starts it again. In a cluster it is the leader of a stream, and the
// others take over before it is there again.
func (w *world) killServer(ctx context.Context, i int) error {
	streams := []string{"KV_shmem", "shmem_topic_ticks", "shmem_queue_jobs", "KV_shmem_map_users"}
	w.servers.whole(ctx, streams...)
	p, err := w.servers.leader(ctx, streams[i%len(streams)])
	if err != nil {
		return nil // there is none just now
	}
	whole, since := w.whole(), time.Now()
	p.kill()
	if len(w.servers.all) > 1 {
		err = w.recovered(ctx, afterServer, whole, since)
	}
	if err == nil {
		err = p.start()
	}
	if err == nil {
		err = p.ready()
	}
	if err == nil && len(w.servers.all) == 1 {
		err = w.recovered(ctx, afterServer, whole, since)
	}
	return err
}

// send publishes and sends until ctx is done.
func (w *world) send(ctx context.Context) error {
	always := context.Background()
	for n := uint64(0); ctx.Err() == nil; n++ {
		v := item{N: n, At: time.Now().UnixNano()}
		if err := w.ticks.Publish(always, v); err != nil {
			return err
		}
		atomic.AddUint64(&w.r.topicSent, 1)
		if err := w.change(always, v); err != nil {
			return err
		}
		switch err := w.jobs.Send(ctx, v); {
		case err == nil:
			atomic.AddUint64(&w.r.queueSent, 1)
		case ctx.Err() != nil:
			return nil
		default:
			return err
		}
		time.Sleep(w.p.rate)
	}
	return nil
}

// drain waits until all that was sent has come, or nothing comes for long.
func (w *world) drain(ctx context.Context) error {
	total := func() uint64 {
		return atomic.LoadUint64(&w.r.topicGot) + atomic.LoadUint64(&w.r.queueGot)
	}
	last, since := uint64(0), time.Now()
	for ctx.Err() == nil {
		now := total()
		switch {
		case atomic.LoadUint64(&w.r.topicGot) >= w.r.topicSent &&
			atomic.LoadUint64(&w.r.queueGot) >= w.r.queueSent:
			time.Sleep(300 * time.Millisecond) // what comes twice comes now
			return w.sameMaps(ctx)
		case now != last:
			last, since = now, time.Now()
		case time.Since(since) > 45*time.Second:
			return fmt.Errorf("nothing comes any more: topic %d of %d, queue %d of %d",
				atomic.LoadUint64(&w.r.topicGot), w.r.topicSent,
				atomic.LoadUint64(&w.r.queueGot), w.r.queueSent)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// recvTopic checks that the mirror of the topic has all messages in order.
func (w *world) recvTopic(ctx context.Context) error {
	t, err := topic.AttachWait[item](ctx, "ticks", &topic.Options{Dir: w.b})
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	s, err := t.Subscribe(topic.Oldest)
	if err != nil {
		return err
	}
	next := uint64(0)
	for v, err := range s.All(ctx) {
		if err != nil {
			return err
		}
		switch {
		case v.N > next:
			w.r.topicGaps += v.N - next
			fmt.Printf("%s topic: %d missing before %d, sent at %s; the reader has lost %d\n",
				time.Now().Format(time.StampMicro), v.N-next, v.N,
				time.Unix(0, v.At).Format(time.StampMicro), s.Lost())
		case v.N < next:
			w.r.topicTwice++
		}
		next = v.N + 1
		later(&w.through.topic, v.At)
		atomic.AddUint64(&w.r.topicGot, 1)
	}
	return nil
}

// recvQueue checks that the mirror of the queue has each message once.
func (w *world) recvQueue(ctx context.Context) error {
	q, err := queue.AttachWait[item](ctx, "jobs", &queue.Options{Dir: w.b})
	if err != nil {
		return err
	}
	defer func() { _ = q.Close() }()
	seen := map[uint64]bool{}
	for v, err := range q.All(ctx) {
		if err != nil {
			return err
		}
		if v.N&strange != 0 {
			continue
		}
		if seen[v.N] {
			w.r.queueTwice++
		}
		later(&w.through.queue, v.At)
		seen[v.N] = true
		atomic.AddUint64(&w.r.queueGot, 1)
	}
	return nil
}

// watchBox checks that the mirror of the box never goes back.
func (w *world) watchBox(ctx context.Context) error {
	b, err := shmem.AttachWait[item](ctx, "cfg", &shmem.Options{Dir: w.b, Passive: true})
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	last := uint64(0)
	for v, err := range b.Watch(ctx) {
		if err != nil {
			return err
		}
		if v.N < last {
			w.r.boxBack++
		}
		if v.N != last {
			w.r.boxSeen++
		}
		last = v.N
		later(&w.through.box, v.At)
	}
	return nil
}
