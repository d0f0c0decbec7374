package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// duplicates is how long the server removes duplicates of a work queue. The receiver does so
// whatever the server has forgotten.
const duplicates = 2 * time.Minute

// fewest is the least time that the server accepts. The frames of a topic have ids to follow each
// other by, and none comes twice: to remember them would take the server memory for nothing.
const fewest = 100 * time.Millisecond

// createFor is how long it may take to create a bucket or stream.
const createFor = 10 * time.Second

// Setup creates the bucket and the streams of all routes. With Options.NoSetup it is what a process
// with more permissions calls once.
func (b *Bridge) Setup(ctx context.Context) error {
	if err := b.setupBucket(ctx); err != nil {
		return err
	}
	for _, r := range b.routes {
		if err := b.setupRoute(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

const howSetup = "create it with Setup, which is -setup of the command"

// Check returns an error if the server has no JetStream, or if the bucket or a stream is not there
// and Options.NoSetup says that another process creates them. It creates nothing.
func (b *Bridge) Check(ctx context.Context) error {
	names := []string{"KV_" + b.o.Prefix}
	for _, r := range b.routes {
		switch r.kind {
		case kindBox:
		case kindMap:
			names = append(names, "KV_"+r.bucket(b.o.Prefix))
		default:
			names = append(names, r.stream(b.o.Prefix))
		}
	}
	for _, name := range names {
		_, err := b.js.Stream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
			return fmt.Errorf("natsbridge: %w; start the server with JetStream, nats-server -js",
				err)
		case errors.Is(err, jetstream.ErrStreamNotFound) && b.o.NoSetup:
			return fmt.Errorf("natsbridge: there is no stream %s; %s", name, howSetup)
		case errors.Is(err, jetstream.ErrStreamNotFound):
		case err != nil:
			return fmt.Errorf("natsbridge: stream %s: %w%s", name, err, b.said())
		}
	}
	return nil
}

func (b *Bridge) setupBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, createFor)
	defer cancel()
	_, err := b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: b.o.Prefix, History: 1, Storage: jetstream.FileStorage, Replicas: b.o.Replicas,
	})
	if errors.Is(err, jetstream.ErrBucketExists) {
		return nil
	}
	return err
}

func (b *Bridge) setupRoute(ctx context.Context, r *route) error {
	c := jetstream.StreamConfig{
		Name: r.stream(b.o.Prefix), Subjects: []string{r.subject(b.o.Prefix)},
		Storage: jetstream.FileStorage, Replicas: b.o.Replicas, MaxMsgs: b.o.Keep,
		AllowDirect: true, Discard: jetstream.DiscardOld,
	}
	switch r.kind {
	case kindBox:
		return nil
	case kindMap:
		return b.setupMap(ctx, r)
	case kindTopic:
		c.Duplicates = fewest
	case kindQueue:
		c.Retention, c.Discard = jetstream.WorkQueuePolicy, jetstream.DiscardNew
		c.Duplicates = duplicates
		dead := jetstream.StreamConfig{
			Name: b.o.Prefix + "_dead", Subjects: []string{b.o.Prefix + ".dead.>"},
			Storage: jetstream.FileStorage, Replicas: b.o.Replicas, MaxMsgs: b.o.Keep,
		}
		if err := b.createStream(ctx, dead); err != nil {
			return err
		}
	}
	return b.createStream(ctx, c)
}

// markers is how long the bucket of a map keeps that a key was removed. A bridge that was away for
// longer compares all keys.
const markers = time.Minute

// setupMap creates the bucket of a map. A server before 2.11 removes no entry that has expired, and
// keeps the markers of removed ones.
func (b *Bridge) setupMap(ctx context.Context, r *route) error {
	c := jetstream.KeyValueConfig{
		Bucket: r.bucket(b.o.Prefix), History: 1, Storage: jetstream.FileStorage,
		Replicas: b.o.Replicas, LimitMarkerTTL: markers,
	}
	_, err := b.js.Stream(ctx, "KV_"+c.Bucket)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	_, err = b.js.CreateKeyValue(ctx, c)
	if errors.Is(err, jetstream.ErrLimitMarkerTTLNotSupported) {
		c.LimitMarkerTTL = 0
		_, err = b.js.CreateKeyValue(ctx, c)
	}
	if errors.Is(err, jetstream.ErrBucketExists) {
		return nil
	}
	return err
}

// createStream creates a stream. One that is there stays as it is.
func (b *Bridge) createStream(ctx context.Context, c jetstream.StreamConfig) error {
	_, err := b.js.Stream(ctx, c.Name)
	if err == nil || !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, createFor)
	defer cancel()
	_, err = b.js.CreateStream(ctx, c)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil
	}
	return err
}

// prepare returns the bucket, and sees to the stream of a route.
func (b *Bridge) prepare(ctx context.Context, r *route) (kv jetstream.KeyValue, err error) {
	err = together(ctx, func(ctx context.Context) (err error) {
		kv, err = b.keyValue(ctx)
		return err
	}, func(ctx context.Context) error {
		if b.o.NoSetup {
			return nil
		}
		return b.setupRoute(ctx, r)
	})
	return kv, err
}

// keyValue returns the bucket.
func (b *Bridge) keyValue(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := b.js.KeyValue(ctx, b.o.Prefix)
	if errors.Is(err, jetstream.ErrBucketNotFound) && !b.o.NoSetup {
		if err = b.setupBucket(ctx); err == nil {
			kv, err = b.js.KeyValue(ctx, b.o.Prefix)
		}
	}
	if errors.Is(err, jetstream.ErrBucketNotFound) && b.o.NoSetup {
		err = fmt.Errorf("%w: %s; %s", err, b.o.Prefix, howSetup)
	}
	return kv, err
}
