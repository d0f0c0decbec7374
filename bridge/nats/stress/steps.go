package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shmembox/shmem/bridge/nats/internal/at"
	"github.com/shmembox/shmem/internal/step"
)

// A death is a step at which a bridge dies.
type death struct {
	out   bool
	point step.Point
	own   bool // a step of the bridge, which must be reached; else one of the library
}

// deaths are all steps of the bridge.
func deaths() (all []death) {
	for _, p := range at.Out {
		all = append(all, death{true, p, true})
	}
	for _, p := range at.In {
		all = append(all, death{false, p, true})
	}
	return all
}

// library finds out which steps of the library the bridges reach.
func (w *world) library(ctx context.Context) (all []death, err error) {
	for _, out := range []bool{true, false} {
		name := filepath.Join(w.store, fmt.Sprintf("reached-%v", out))
		p := w.side(out)
		p.kill()
		if err := p.start(notes + "=" + name); err != nil {
			return nil, err
		}
		if err := w.recovered(ctx, "", false, time.Now()); err != nil {
			return nil, err
		}
		time.Sleep(500 * time.Millisecond)
		if err := p.again(); err != nil {
			return nil, err
		}
		reached, err := reachedIn(name)
		if err != nil {
			return nil, err
		}
		own := slices.Concat(at.Out, at.In)
		for _, point := range reached {
			if !slices.Contains(own, point) {
				all = append(all, death{out, point, false})
			}
		}
	}
	return all, nil
}

// side returns the bridge that sends, or the one that mirrors.
func (w *world) side(out bool) *process {
	if out {
		return w.out
	}
	return w.in
}

// die makes a bridge die at a step, and starts it again.
func (w *world) die(ctx context.Context, d death) error {
	p := w.side(d.out)
	first := int64(1)
	if !slices.Contains(at.Once, d.point) {
		first += rand.Int64N(20)
	}
	for _, n := range []int64{first, 1} {
		if err := w.prepare(ctx, d, p); err != nil {
			return err
		}
		p.kill()
		if err := p.start(fmt.Sprintf("%s=%s:%d", dieAt, d.point, n)); err != nil {
			return err
		}
		if err := w.provoke(ctx, d); err != nil {
			return err
		}
		died, most := false, 8*time.Second
		if d.own { // it is reached, also on a machine that has much to do
			most = 30 * time.Second
		}
		select {
		case <-p.done:
			died = true
		case <-time.After(most):
		case <-ctx.Done():
		}
		if err := p.again(); err != nil {
			return err
		}
		if died {
			w.died(d)
			return nil
		}
	}
	if d.own {
		return fmt.Errorf("the step %s was not reached", d.point)
	}
	return nil
}

func (w *world) died(d death) {
	if d.own {
		w.r.stepKills++
	} else {
		w.r.libraryKills++
	}
}

// prepare sees to what a step needs before the bridge starts: a message that was about to be sent.
func (w *world) prepare(ctx context.Context, d death, p *process) error {
	if d.point != at.QueueInSettled {
		return nil
	}
	return w.die(ctx, death{false, at.QueueInIntent, true})
}

// provoke sends what a step needs while the bridge runs: a message that is no frame, or one of
// another queue of the same name.
func (w *world) provoke(ctx context.Context, d death) error {
	if d.point != at.QueueInBuried && d.point != at.QueueInForgot {
		return nil
	}
	nc, err := nats.Connect(w.servers.direct)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, cancel := context.WithTimeout(ctx, time.Second)
		b := []byte("no frame")
		if d.point == at.QueueInForgot {
			b, err = stranger(c, js)
		}
		if err == nil {
			_, err = js.Publish(c, "shmem.queue.jobs", b)
		}
		cancel()
		if err == nil {
			return nil
		}
		if time.Since(begun) > 20*time.Second {
			return fmt.Errorf("a message for %s: %w", d.point, err)
		}
	}
}

// strange is set in the number of a message of another queue.
const strange = 1 << 63

// stranger returns a frame of another queue of the same type, which is that of the topic too.
func stranger(ctx context.Context, js jetstream.JetStream) ([]byte, error) {
	s, err := js.Stream(ctx, "shmem_topic_ticks")
	if err != nil {
		return nil, err
	}
	m, err := s.GetLastMsgForSubject(ctx, "shmem.topic.ticks")
	if err != nil {
		return nil, err
	}
	b := append([]byte("SHMB\x01\x03\x00\x30"), m.Data[8:16]...)
	for _, v := range []uint64{rand.Uint64(), 1, 0, 1} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = binary.NativeEndian.AppendUint64(b, strange)
	return append(b, make([]byte, len(item{}.Pad)+8)...), nil
}

// parseDeaths returns the deaths that an option names: "all" steps of the bridge, "library" for
// those of the library too, or names with commas.
func parseDeaths(s string) (all []death, library bool, err error) {
	if s == "" {
		return nil, false, nil
	}
	for name := range strings.SplitSeq(s, ",") {
		switch name {
		case "all":
			all = append(all, deaths()...)
			continue
		case "library":
			library = true
			continue
		}
		i := slices.IndexFunc(deaths(), func(d death) bool { return string(d.point) == name })
		if i < 0 {
			return nil, false, errors.New("no step " + name + "; see internal/at")
		}
		all = append(all, deaths()[i])
	}
	return all, library, nil
}
