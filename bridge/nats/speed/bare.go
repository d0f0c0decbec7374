package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// bare publishes as nats.go does by itself, and waits until the server has all.
func bare(ctx context.Context, x *bench, n int) (figure, error) {
	return x.stream(ctx, 512, jetstream.LimitsPolicy, func(s *raw) (figure, error) {
		return x.timed(n, func() error { return s.publish(n, nil) })
	})
}

// bareOrdered does what a topic needs, by hand: each message on condition that the one before is
// the last, and all of them received in order.
func bareOrdered(ctx context.Context, x *bench, n int) (figure, error) {
	return x.stream(ctx, 512, jetstream.LimitsPolicy, func(s *raw) (figure, error) {
		c, err := s.js.OrderedConsumer(ctx, s.name, jetstream.OrderedConsumerConfig{})
		if err != nil {
			return figure{}, err
		}
		return x.through(n, s, c, false, func(i int) jetstream.PublishOpt {
			return jetstream.WithExpectLastSequence(uint64(i))
		})
	})
}

// bareWork does what a queue needs, by hand: each message has an id, and is acknowledged when it
// was received; 256 are on the way.
func bareWork(ctx context.Context, x *bench, n int) (figure, error) {
	return x.stream(ctx, 256, jetstream.WorkQueuePolicy, func(s *raw) (figure, error) {
		c, err := s.js.CreateConsumer(ctx, s.name, jetstream.ConsumerConfig{
			Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 4096,
		})
		if err != nil {
			return figure{}, err
		}
		return x.through(n, s, c, true, func(i int) jetstream.PublishOpt {
			return jetstream.WithMsgID(fmt.Sprintf("%x.%x", x.serial, i))
		})
	})
}

// through publishes messages and receives them.
func (x *bench) through(
	n int, s *raw, c jetstream.Consumer, ack bool, option func(int) jetstream.PublishOpt,
) (figure, error) {
	it, err := c.Messages(jetstream.PullMaxMessages(500))
	if err != nil {
		return figure{}, err
	}
	defer it.Stop()
	return x.timed(n, func() error {
		sent := make(chan error, 1)
		go func() { sent <- s.publish(n, option) }()
		for range n {
			m, err := it.Next()
			if err == nil {
				_, err = m.Metadata()
			}
			if err == nil && ack {
				err = m.Ack()
			}
			if err != nil {
				return errors.Join(err, s.nc.LastError())
			}
		}
		return <-sent
	})
}

// A raw is a stream that is used without the bridge.
type raw struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	name string
}

// stream calls f with a new stream, and removes it.
func (x *bench) stream(
	ctx context.Context, window int, keep jetstream.RetentionPolicy,
	f func(*raw) (figure, error),
) (figure, error) {
	nc, err := nats.Connect(x.url)
	if err != nil {
		return figure{}, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(window))
	if err != nil {
		return figure{}, err
	}
	s := &raw{nc, js, x.name("raw")}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: s.name, Subjects: []string{s.name},
		Storage: jetstream.FileStorage, Retention: keep})
	if err != nil {
		return figure{}, err
	}
	defer func() { _ = js.DeleteStream(ctx, s.name) }()
	return f(s)
}

// publish publishes messages, and waits until the server has all.
func (s *raw) publish(n int, option func(i int) jetstream.PublishOpt) error {
	b := make([]byte, 64)
	for i := range n {
		options := []jetstream.PublishOpt{jetstream.WithStallWait(time.Minute)}
		if option != nil {
			options = append(options, option(i))
		}
		if _, err := s.js.PublishAsync(s.name, b, options...); err != nil {
			return err
		}
	}
	<-s.js.PublishAsyncComplete()
	return nil
}
