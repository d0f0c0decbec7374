// Command request-reply is a server that frees at once what a killed client has left.
//
//	go run ./examples/request-reply
//
// Clients send requests by a queue. Each client creates memory for replies, a box of 1 MiB, and
// names it after the id of its attachment to the queue; a request carries that id. The server
// attaches to the box at the first request, and stores the replies there.
//
// The server loops over the events of the queue's segment. When a client has left or died, the
// server closes the client's box, and removes its name: a client that has died does not. So the
// memory is free within milliseconds of the death, whether the client had sent a request or not.
// The second client kills itself; -die says when.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/queue"
)

// Request asks for the square of N.
type Request struct {
	Client uint32 // Segment.ID of the client's attachment to the queue
	N      int64
}

// Reply is the memory that a client makes for its replies.
type Reply struct {
	Square int64
	More   [1 << 20]byte
}

var (
	name = flag.String("name", "request-reply", "name of the queue, and beginning of other names")
	die  = flag.String("die", "waiting", "when a client dies: created, sent, waiting or replied")
	self = flag.Bool("self", false, "be a client that dies")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	run := server
	if flag.NArg() > 0 {
		run = client
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// replyName returns the name of a client's box.
func replyName(client uint32) string { return fmt.Sprintf("%s-reply-%d", *name, client) }

// clients are the boxes that the server has attached to.
type clients struct {
	mu    sync.Mutex
	boxes map[uint32]*shmem.Box[Reply] // by client; guarded by mu
}

// box returns the box of a client.
func (c *clients) box(client uint32) (*shmem.Box[Reply], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.boxes[client]; b != nil {
		return b, nil
	}
	b, err := shmem.Attach[Reply](replyName(client), nil)
	if err == nil {
		c.boxes[client] = b
	}
	return b, err
}

// free frees the box of a client that is gone, and its name, if the client has died.
func (c *clients) free(client uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.boxes[client]; b != nil {
		delete(c.boxes, client)
		if err := b.Close(); err != nil {
			return err
		}
	}
	if err := shmem.Remove("", replyName(client)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// server serves three clients, which it starts, and ends when all of them are gone.
func server(ctx context.Context) error {
	requests, err := queue.Create[Request](*name, nil)
	if err != nil {
		return err
	}
	defer requests.Close()
	c := &clients{boxes: map[uint32]*shmem.Box[Reply]{}}
	go serve(ctx, requests, c)

	const n = 3
	for i := range n {
		arg := []string{"-name", *name, "-die", *die, fmt.Sprint("-self=", i == 1), "client"}
		p := exec.CommandContext(ctx, os.Args[0], arg...)
		p.Stderr = os.Stderr
		if err := p.Start(); err != nil {
			return err
		}
		go p.Wait()
	}
	gone := 0
	for event, err := range requests.Segment().Events(ctx) {
		if err != nil {
			return err
		}
		switch event.Kind {
		case shmem.Left, shmem.Died:
			if err := c.free(event.Peer.ID); err != nil {
				return err
			}
			if event.Kind == shmem.Died {
				fmt.Println("a client died; boxes that are left of it:", count(event.Peer.ID))
			}
			gone++
		}
		if gone == n {
			break
		}
	}
	fmt.Printf("%d clients are gone\n", gone)
	return nil
}

// serve replies to requests until the queue is closed.
func serve(ctx context.Context, requests *queue.Queue[Request], c *clients) {
	for r, err := range requests.All(ctx) {
		if err != nil {
			return
		}
		b, err := c.box(r.Client)
		if err == nil {
			err = b.Update(ctx, func(reply *Reply) error {
				reply.Square = r.N * r.N
				return nil
			})
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, shmem.ErrClosed) {
			log.Print(err) // else the client died meanwhile, and its box is freed
		}
	}
}

// count counts the boxes of a client.
func count(client uint32) (n int) {
	for info := range shmem.List("") {
		if strings.HasPrefix(info.Name, *name) && info.Name == replyName(client) {
			n++
		}
	}
	return n
}

// client asks for a few squares.
func client(ctx context.Context) error {
	requests, err := queue.AttachWait[Request](ctx, *name, nil)
	if err != nil {
		return err
	}
	defer requests.Close()
	id := requests.Segment().ID()
	reply, err := shmem.Create[Reply](replyName(id), nil)
	if err != nil {
		return err
	}
	defer reply.Close()
	moment("created")
	for n := range int64(5) {
		seen := reply.Version()
		if err := requests.Send(ctx, Request{id, n}); err != nil {
			return err
		}
		moment("sent")
		if *self && *die == "waiting" {
			go moment("waiting")
		}
		if err := reply.Wait(ctx, seen); err != nil {
			return err
		}
		moment("replied")
		v, err := reply.Load(ctx)
		if err != nil {
			return err
		}
		if v.Square != n*n {
			return fmt.Errorf("the square of %d is said to be %d", n, v.Square)
		}
	}
	return nil
}

// moment kills this process if it is the one that dies, and this is when.
func moment(now string) {
	if *self && *die == now {
		if p, err := os.FindProcess(os.Getpid()); err == nil {
			_ = p.Kill()
		}
		select {}
	}
}
