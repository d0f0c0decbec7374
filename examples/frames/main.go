// Command frames passes frames of video from one process to two others, without copying them.
//
//	go run ./examples/frames
//
// The parent draws 60 frames of 1920×1080 RGB pixels, 6 MB each, in their place in a topic, 50 a second, and starts
// itself twice to look at them there. One of the two is slow: it loses frames, and holds nobody up.
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
	slow = flag.Duration("slow", 0, "what a viewer does with a frame takes so long")
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
		err := t.PublishFunc(ctx, func(f *Frame) error {
			f.Number = i
			for y := range f.Pixels {
				f.Pixels[y][int(i)*16%1920] = [3]byte{byte(i), byte(y), 255}
			}
			return nil
		})
		if err != nil {
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
	seen := uint64(0)
	for {
		right := false
		err := sub.RecvFunc(ctx, func(f *Frame) error {
			n := f.Number
			right = f.Pixels[500][n*16%1920] == [3]byte{byte(n), 500 % 256, 255}
			time.Sleep(*slow)
			return nil
		})
		switch {
		case err == nil && !right:
			return errors.New("a frame is not what was drawn")
		case err == nil:
			seen++
		case errors.Is(err, topic.ErrLost):
			// drawn over while it was looked at: Lost counts it
		case err == io.EOF:
			fmt.Printf("%v a frame: %d of %d frames seen, %d lost\n", *slow, seen, frames, sub.Lost())
			if seen+sub.Lost() != frames {
				return fmt.Errorf("%d frames are missing", frames-seen-sub.Lost())
			}
			return nil
		default:
			return err
		}
	}
}
