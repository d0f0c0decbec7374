// Command frames passes video frames from one process to two others without a copy.
//
//	go run ./examples/frames
//
// The parent draws 60 frames of 1920×1080 RGB pixels, 6 MB each and 50 a second, directly into a
// topic. It starts itself twice as a viewer, which checks the frames where they are. One viewer is
// slow: it loses frames, but delays neither the parent nor the other viewer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"time"

	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/topic"
)

// Frame is a picture.
type Frame struct {
	Number uint64
	Pixels [1080][1920][3]byte
}

const frames = 60

var (
	name = flag.String("name", "frames", "name of the topic")
	slow = flag.Duration("slow", 0, "how long a viewer takes for a frame")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	run := draw
	if flag.NArg() > 0 {
		run = view
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// draw creates the topic, starts the viewers, and publishes frames when both have subscribed.
func draw(ctx context.Context) error {
	t, err := topic.Create[Frame](*name, &topic.Options{Capacity: 8})
	if err != nil {
		return err
	}
	defer t.Close()
	ready, err := queue.Create[bool](*name+"-ready", nil)
	if err != nil {
		return err
	}
	defer ready.Close()
	var viewers []*exec.Cmd
	for _, slow := range []string{"0s", "100ms"} {
		c := exec.CommandContext(ctx, os.Args[0], "-name", *name, "-slow", slow, "view")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			return err
		}
		viewers = append(viewers, c)
	}
	for range viewers {
		if _, err := ready.Recv(ctx); err != nil {
			return err
		}
	}
	for i := range uint64(frames) {
		// PublishFunc passes the memory of the message: the frame is drawn where it is read.
		if err := t.PublishFunc(ctx, func(f *Frame) error { f.draw(i); return nil }); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := t.End(); err != nil {
		return err
	}
	for _, v := range viewers {
		if err := v.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// draw draws frame n: a vertical line that moves, and changes its colour from row to row.
func (f *Frame) draw(n uint64) {
	f.Number = n
	for y := range f.Pixels {
		f.Pixels[y][n*16%1920] = [3]byte{byte(n), byte(y), 255}
	}
}

// whole reports whether a frame is what draw drew: a row in the middle is checked.
func (f *Frame) whole() bool {
	const y = 500
	return f.Pixels[y][f.Number*16%1920] == [3]byte{byte(f.Number), y % 256, 255}
}

// view subscribes, says that it is ready, and looks at frames until the topic ends.
func view(ctx context.Context) error {
	t, err := topic.Attach[Frame](*name, nil)
	if err != nil {
		return err
	}
	defer t.Close()
	sub, err := t.Subscribe(topic.Now)
	if err != nil {
		return err
	}
	defer sub.Close()
	ready, err := queue.Attach[bool](*name+"-ready", nil)
	if err != nil {
		return err
	}
	defer ready.Close()
	if err := ready.Send(ctx, true); err != nil {
		return err
	}
	seen, whole := uint64(0), false
	look := func(f *Frame) error {
		whole = f.whole()
		time.Sleep(*slow)
		return nil
	}
	for {
		switch err := sub.RecvFunc(ctx, look); {
		case err == io.EOF:
			fmt.Printf("%v a frame: %d of %d frames seen, %d lost\n", *slow, seen, frames,
				sub.Lost())
			if seen+sub.Lost() != frames {
				return fmt.Errorf("%d frames are missing", frames-seen-sub.Lost())
			}
			return nil
		case errors.Is(err, topic.ErrLost):
			// It was overwritten while look read it. What look saw does not count; Lost counts it.
		case err != nil:
			return err
		case !whole:
			return errors.New("a frame is not what was drawn")
		default:
			seen++
		}
	}
}
