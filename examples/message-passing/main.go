// Command message-passing passes a value from one process to another and back: the parent creates
// a box, the child changes what is in it.
//
//	go run ./examples/message-passing
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"

	"github.com/shmembox/shmem"
)

// Message is what the two share.
type Message struct {
	Value atomic.Int64
}

// Drop is called once, by the owner's Close.
func (m *Message) Drop() { fmt.Printf("process %d: dropping the message %d\n", os.Getpid(), m.Value.Load()) }

func main() {
	log.SetFlags(0)
	name := "message-passing"
	if len(os.Args) > 2 {
		name = os.Args[2]
	}
	box, err := shmem.Open[Message](name, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer box.Close()

	if len(os.Args) > 1 { // the child: change the value and leave
		v, err := strconv.ParseInt(os.Args[1], 10, 64)
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Printf("process %d: found %d, setting %d\n", os.Getpid(), box.Value().Value.Load(), v)
		box.Value().Value.Store(v)
		return
	}

	box.Value().Value.Store(1)
	fmt.Printf("process %d: set %d, owner: %v\n", os.Getpid(), box.Value().Value.Load(), box.Owned())
	child := exec.Command(os.Args[0], "42", name)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Run(); err != nil {
		log.Print(err)
		return
	}
	fmt.Printf("process %d: sees %d\n", os.Getpid(), box.Value().Value.Load())
}
