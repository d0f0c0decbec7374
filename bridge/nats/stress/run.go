package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// A process is a child that can be killed and started again.
type process struct {
	args []string
	cmd  *exec.Cmd
	in   io.Closer
}

func (p *process) start() error {
	p.cmd = exec.Command("/proc/self/exe", p.args...)
	p.cmd.Stderr, p.cmd.Stdout = os.Stderr, os.Stderr
	in, err := p.cmd.StdinPipe()
	p.in = in
	if err != nil {
		return err
	}
	return p.cmd.Start()
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.in.Close()
}

// A result is what came out.
type result struct {
	plan
	topicSent, topicGot, topicGaps, topicTwice uint64
	queueSent, queueGot, queueTwice            uint64
	boxSeen, boxBack                           uint64
}

func (r *result) lost() uint64 { return r.queueSent - (r.queueGot - r.queueTwice) }

func (r *result) String() string {
	return fmt.Sprintf("kills: %d of bridges, %d of servers, %d of owners; %d cuts\n"+
		"topic: sent %d, received %d, gaps %d, twice %d\n"+
		"queue: sent %d, received %d, lost %d, twice %d\n"+
		"box: %d values seen, %d went back",
		r.bridges, r.servers, r.owners, r.cuts, r.topicSent, r.topicGot, r.topicGaps,
		r.topicTwice, r.queueSent, r.queueGot, r.lost(), r.queueTwice, r.boxSeen, r.boxBack)
}

func (r *result) err() error {
	if r.topicGaps+r.topicTwice+r.lost()+r.queueTwice+r.boxBack > 0 || r.topicGot != r.topicSent {
		return errors.New("something was lost, came twice or went back")
	}
	return nil
}

// A world is all processes of a run, and the directories of two hosts.
type world struct {
	p                      plan
	a, b, store            string
	proxy                  *proxy
	server, owner, out, in *process
	r                      result
	rnd                    *rand.Rand
	ticks                  *topic.Topic[item]
	jobs                   *queue.Queue[item]
}

// run does what the plan says, waits until all has arrived, and returns what came out.
func run(ctx context.Context, p plan) (*result, error) {
	w := &world{p: p, rnd: rand.New(rand.NewPCG(p.seed, 1))}
	w.r.plan = p
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
	for _, f := range []func(context.Context) error{w.recvTopic, w.recvQueue, w.watchBox} {
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
	w.harm(ctx)
	enough()
	err := <-sent
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	if w.proxy, err = newProxy(fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
		return err
	}
	url := "nats://" + w.proxy.l.Addr().String()
	w.ticks, err = topic.Open[item]("ticks", &topic.Options{Dir: w.a, Capacity: 1 << 17})
	if err != nil {
		return err
	}
	w.jobs, err = queue.Open[item]("jobs", &queue.Options{Dir: w.a, Capacity: 4096})
	if err != nil {
		return err
	}
	w.server = &process{args: []string{"server", w.store, strconv.Itoa(port)}}
	w.owner = &process{args: []string{"owner", w.a}}
	w.out = &process{args: []string{"out", url, w.a}}
	w.in = &process{args: []string{"in", url, w.b}}
	for _, p := range []*process{w.server, w.owner, w.out, w.in} {
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() {
	for _, p := range []*process{w.owner, w.out, w.in, w.server} {
		if p != nil && p.cmd != nil && p.cmd.Process != nil {
			p.kill()
		}
	}
	if w.proxy != nil {
		w.proxy.close()
	}
	if w.ticks != nil {
		_ = w.ticks.Close()
	}
	if w.jobs != nil {
		_ = w.jobs.Close()
	}
	for _, dir := range []string{w.a, w.b, w.store} {
		if dir != "" && filepath.IsAbs(dir) {
			_ = os.RemoveAll(dir)
		}
	}
}

// harm kills and cuts in a random order.
func (w *world) harm(ctx context.Context) {
	var all []func()
	again := func(p *process) func() {
		return func() { p.kill(); _ = p.start() }
	}
	for i := range w.p.bridges {
		all = append(all, again([]*process{w.out, w.in}[i%2]))
	}
	for range w.p.servers {
		all = append(all, again(w.server))
	}
	for range w.p.owners {
		all = append(all, again(w.owner))
	}
	for range w.p.cuts {
		all = append(all, func() {
			w.proxy.set(true)
			time.Sleep(100*time.Millisecond + rand.N(max(w.p.cut-100*time.Millisecond, 1)))
			w.proxy.set(false)
		})
	}
	w.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, f := range all {
		time.Sleep(time.Duration(w.rnd.Int64N(int64(2*w.p.pause) + 1)))
		if ctx.Err() != nil {
			return
		}
		f()
	}
}

// send publishes and sends until ctx is done.
func (w *world) send(ctx context.Context) error {
	always := context.Background()
	for n := uint64(0); ctx.Err() == nil; n++ {
		if err := w.ticks.Publish(always, item{N: n}); err != nil {
			return err
		}
		atomic.AddUint64(&w.r.topicSent, 1)
		switch err := w.jobs.Send(ctx, item{N: n}); {
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
			return nil
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
	defer t.Close()
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
		case v.N < next:
			w.r.topicTwice++
		}
		next = v.N + 1
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
	defer q.Close()
	seen := map[uint64]bool{}
	for v, err := range q.All(ctx) {
		if err != nil {
			return err
		}
		if seen[v.N] {
			w.r.queueTwice++
		}
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
	defer b.Close()
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
	}
	return nil
}
