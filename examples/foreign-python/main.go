// Command foreign-python shares memory with python3, which knows nothing of this library.
//
//	go run ./examples/foreign-python
//
// First python3 makes the memory and Go attaches to it as a foreign segment. Then Go creates a box
// and python3 maps its file. Each sees what the other wrote. The example needs python3.
package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/shmembox/shmem"
)

//go:embed peer.py
var script string

// Sample is struct.Struct("=qd16s") in Python.
type Sample struct {
	Count int64
	Level float64
	Label shmem.Text[[16]byte]
}

var name = flag.String("name", "foreign-python", "name of the segment")

// main alone ends the process, because log.Fatal runs no deferred Close.
func main() {
	log.SetFlags(0)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	foreign := func() (*shmem.Box[Sample], error) {
		return shmem.Attach[Sample](*name, &shmem.Options{Foreign: true})
	}
	ours := func() (*shmem.Box[Sample], error) { return shmem.Create[Sample](*name, nil) }
	err := share(ctx, "make", foreign)
	if err == nil {
		err = share(ctx, "map", ours)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// share starts python3, opens the segment, and lets both write to it in turn. python is what
// python3 does with the memory: "make" before open, or "map" after it.
func share(ctx context.Context, python string, open func() (*shmem.Box[Sample], error)) error {
	c := exec.CommandContext(ctx, "python3", "-c", script, python, "/dev/shm/"+*name)
	c.Stderr = os.Stderr
	in, _ := c.StdinPipe()
	out, _ := c.StdoutPipe()
	c.Cancel = in.Close
	if err := c.Start(); err != nil {
		return fmt.Errorf("this example needs python3: %w", err)
	}
	defer c.Wait()
	defer in.Close() // then python3 ends and removes what it made; Close of a foreign box does not
	lines := bufio.NewScanner(out)
	if python == "make" && !lines.Scan() { // "made"
		return errors.New("python3 made nothing")
	}
	box, err := open()
	if err != nil {
		return err
	}
	defer box.Close()
	s := box.Value()
	fmt.Printf("go sees     %d %.2f %q\n", s.Count, s.Level, s.Label)
	s.Count, s.Level = s.Count+1, s.Level+0.25
	if err := s.Label.Set("written by Go"); err != nil {
		return err
	}
	fmt.Fprintln(in, "your turn")
	if !lines.Scan() {
		return errors.New("python3 has ended early")
	}
	fmt.Println(lines.Text())
	fmt.Printf("go sees     %d %.2f %q\n", s.Count, s.Level, s.Label)
	return nil
}
