package natsbridge

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem/topic"
)

// TestLateFrame: a frame that comes late, when a later run of the bridge has sent another one in
// place of the frame before it, is refused: messages would be missing before it.
func TestLateFrame(t *testing.T) {
	ctx, x := t.Context(), newSite(t)
	js, err := jetstream.New(x.nc)
	check(t, err)
	p, err := topic.Open[point]("p", &topic.Options{Dir: x.a})
	check(t, err)
	defer p.Close()
	all := make(chan *nats.Msg, 100)
	sub, err := x.nc.ChanSubscribe("shmem.topic.p", all)
	check(t, err)
	_, end := x.begin(x.a, "topic:p", true)
	var sent []*nats.Msg
	for i := range int64(3) {
		check(t, p.Publish(ctx, point{i, 0}))
		select {
		case m := <-all:
			sent = append(sent, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
		case <-time.After(time.Minute):
			t.Fatal("nothing is sent")
		}
	}
	end()
	check(t, sub.Unsubscribe())
	for _, late := range []bool{false, true} {
		check(t, js.DeleteStream(ctx, "shmem_topic_p"))
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: "shmem_topic_p", Subjects: []string{"shmem.topic.p"}, Storage: jetstream.MemoryStorage,
		})
		check(t, err)
		second := *sent[1]
		if late { // the frame of the later run, at the same sequence
			second.Header = nil
		}
		for i, m := range []*nats.Msg{sent[0], &second} {
			if _, err := js.PublishMsg(ctx, m); err != nil {
				t.Fatal(i, err)
			}
		}
		if _, err := js.PublishMsg(ctx, sent[2]); (err != nil) != late || late && !wrongLast(err) {
			t.Errorf("late: %v, %v", late, err)
		}
	}
}
