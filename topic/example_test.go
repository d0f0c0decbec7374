package topic_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/topic"
)

// Two attachments stand for two processes here.

// Every subscription receives every message that is published after it.
func Example() {
	type Tick struct{ Price, Volume int64 }
	ctx := context.Background()

	feed, err := topic.Open[Tick]("example-ticks", &topic.Options{Capacity: 64})
	if err != nil {
		log.Fatal(err)
	}
	defer feed.Close()
	screen, err := topic.Open[Tick]("example-ticks", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer screen.Close()
	sub, err := screen.Subscribe(topic.Now)
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	for i := range int64(3) {
		if err := feed.Publish(ctx, Tick{100 + i, i}); err != nil {
			log.Fatal(err)
		}
	}
	if err := feed.End(); err != nil { // the loop below ends after the last message
		log.Fatal(err)
	}

	for tick, err := range sub.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(tick)
	}
	// Output:
	// {100 0}
	// {101 1}
	// {102 2}
}

// A subscription that falls behind loses the oldest messages. Lost counts them.
func ExampleSubscription_Lost() {
	ctx := context.Background()
	t, err := topic.Open[int32]("example-lossy", &topic.Options{Capacity: 4})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	sub, err := t.Subscribe(topic.Now)
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	for i := range int32(10) { // never blocks
		if err := t.Publish(ctx, i); err != nil {
			log.Fatal(err)
		}
	}
	received := 0
	for {
		_, err := sub.TryRecv()
		if errors.Is(err, topic.ErrEmpty) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		received++
	}
	fmt.Println("received", received, "lost", sub.Lost())
	// Output: received 4 lost 6
}

// In a topic with holds publishers wait for the slowest subscription, as long as its process lives.
func ExampleOptions_holds() {
	ctx := context.Background()
	t, err := topic.Open[int32]("example-holds", &topic.Options{Capacity: 4, Holds: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	sub, err := t.Subscribe(topic.Now)
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	n := 0
	for t.TryPublish(int32(n)) == nil {
		n++
	}
	fmt.Println(n, "published")
	err = t.TryPublish(99)
	fmt.Println(errors.Is(err, topic.ErrFull))

	v, err := sub.Recv(ctx) // makes room for one
	fmt.Println(v, err)
	fmt.Println(t.TryPublish(99))
	st, err := t.Stats()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d of %d holds, the slowest is %d behind\n", st.Holds, st.MaxHolds, st.Lag)
	// Output:
	// 4 published
	// true
	// 0 <nil>
	// <nil>
	// 1 of 2 holds, the slowest is 4 behind
}

// Latest returns the newest message without a subscription: a topic of state rather than of events.
func ExampleTopic_Latest() {
	ctx := context.Background()
	t, err := topic.Open[float64]("example-latest", &topic.Options{Capacity: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()

	_, _, err = t.Latest()
	fmt.Println(errors.Is(err, topic.ErrEmpty))
	for _, v := range []float64{20.5, 20.7, 21} {
		if err := t.Publish(ctx, v); err != nil {
			log.Fatal(err)
		}
	}
	v, seq, err := t.Latest()
	fmt.Println(v, seq, err)
	// Output:
	// true
	// 21 2 <nil>
}

// Messages of any length.
func ExampleBytes() {
	ctx := context.Background()
	t, err := topic.OpenBytes("example-bytes", &topic.BytesOptions{Bytes: 4096})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	sub, err := t.Subscribe(topic.Now)
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	for _, s := range []string{"short", "a longer one"} {
		if err := t.Publish(ctx, []byte(s)); err != nil {
			log.Fatal(err)
		}
	}
	var buf []byte
	for range 2 {
		if buf, err = sub.Recv(ctx, buf[:0]); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", buf)
	}
	// Output:
	// short
	// a longer one
}

// A subscriber that starts again goes on behind the last message that it has processed.
func ExampleAfter() {
	ctx := context.Background()
	t, err := topic.Open[shmem.Text[[16]byte]]("example-after", &topic.Options{Capacity: 8})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	for _, s := range []string{"zero", "one", "two", "three"} {
		err := t.PublishFunc(ctx, func(m *shmem.Text[[16]byte]) error { return m.Set(s) })
		if err != nil {
			log.Fatal(err)
		}
	}

	processed := uint64(1) // stored by the subscriber's previous run
	sub, err := t.Subscribe(topic.After(processed))
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()
	for range 2 {
		v, err := sub.Recv(ctx)
		if err != nil {
			log.Fatal(err)
		}
		seq, _ := sub.Seq()
		fmt.Println(seq, v)
	}
	// Output:
	// 2 two
	// 3 three
}

// PublishFunc and RecvFunc write and read a large message in place, without a copy.
func ExampleTopic_PublishFunc() {
	type Frame [1 << 16]byte
	ctx := context.Background()
	t, err := topic.Open[Frame]("example-frames", &topic.Options{Capacity: 4, Holds: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	sub, err := t.Subscribe(topic.Now)
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	err = t.PublishFunc(ctx, func(f *Frame) error { f[0], f[1] = 'o', 'k'; return nil })
	if err != nil {
		log.Fatal(err)
	}
	err = sub.RecvFunc(ctx, func(f *Frame) error { fmt.Printf("%s\n", f[:2]); return nil })
	if err != nil {
		log.Fatal(err)
	}
	// Output: ok
}
