// Command tail prints the messages of a topic as they are published, like tail -f.
//
//	go run ./examples/tail
//
// It starts itself as a second process that publishes some lines, and prints them until the topic
// ends. Any number of processes could subscribe meanwhile, and come and go: the publisher does not
// wait for them.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/topic"
)

// Line is a line of a log.
type Line struct {
	Time int64 // Unix nanoseconds
	PID  int32
	Text shmem.Text[[100]byte]
}

var name = flag.String("name", "tail", "name of the topic")

func main() {
	log.SetFlags(0)
	flag.Parse()
	run := tail
	if flag.NArg() > 0 {
		run = write
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// tail creates the topic, starts the publisher, and prints what comes.
func tail(ctx context.Context) error {
	t, err := topic.Create[Line](*name, &topic.Options{Capacity: 64})
	if err != nil {
		return err
	}
	defer t.Close()
	w := exec.CommandContext(ctx, os.Args[0], "-name", *name, "write")
	w.Stderr = os.Stderr
	if err := w.Start(); err != nil {
		return err
	}
	sub, err := t.Subscribe(topic.Oldest)
	if err != nil {
		return err
	}
	defer sub.Close()
	for line, err := range sub.All(ctx) {
		if err != nil {
			return err
		}
		seq, _ := sub.Seq()
		fmt.Printf("%d %s process %d: %s\n", seq, time.Unix(0, line.Time).Format("15:04:05.000"),
			line.PID, line.Text.String())
	}
	fmt.Printf("the topic has ended; %d lines lost\n", sub.Lost())
	return w.Wait()
}

// write publishes five lines and ends the topic.
func write(ctx context.Context) error {
	t, err := topic.Attach[Line](*name, nil)
	if err != nil {
		return err
	}
	defer t.Close()
	for i := range 5 {
		err := t.PublishFunc(ctx, func(l *Line) error {
			l.Time, l.PID = time.Now().UnixNano(), int32(os.Getpid())
			return l.Text.Set(fmt.Sprintf("request %d served", i))
		})
		if err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return t.End()
}
