//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/shmembox/shmem/queue"
)

// A receiving is the parameter of receive.
type receiving struct {
	Dir, Name  string
	Goroutines int
}

// receive is a process whose goroutines receive. It returns its CPU time between two lines.
func receive(param string) error {
	r := parse[receiving](param)
	q, err := queue.Open[uint64](r.Name, &queue.Options{Dir: r.Dir, Capacity: 1024, Slots: 64})
	if err != nil {
		return err
	}
	for range r.Goroutines {
		go func() {
			for {
				if _, err := q.Recv(context.Background()); err != nil {
					return
				}
			}
		}()
	}
	p := theParent()
	p.say("ready")
	p.wait()
	before := used()
	p.wait()
	p.say(asJSON(used().minus(before)))
	return nil
}

// messages: one message a millisecond to receivers that are idle.
func messages() {
	cases := []struct{ processes, goroutines int }{
		{1, 1}, {1, 10}, {1, 100}, {1, 1000}, {8, 1}, {32, 1},
	}
	cpu, send := make([][]time.Duration, len(cases)), make([][]time.Duration, len(cases))
	ratio := make([][]float64, len(cases))
	for range *rounds {
		first := time.Duration(0)
		for i, c := range cases {
			all, each := message(c.processes, c.goroutines)
			if i == 0 {
				first = all
			}
			cpu[i], send[i] = append(cpu[i], all), append(send[i], each)
			ratio[i] = append(ratio[i], float64(all)/float64(first))
		}
	}
	title("One message a millisecond to idle receivers", "processes × goroutines",
		"CPU of the receivers a message", "× that of 1", "Send, median")
	for i, c := range cases {
		row(fmt.Sprintf("%d × %d", c.processes, c.goroutines), micro(median(cpu[i])),
			times(median(ratio[i])), micro(median(send[i])))
	}
}

// message returns the CPU time of all receivers a message, and the median time of Send.
func message(processes, goroutines int) (cpu, send time.Duration) {
	name := fmt.Sprintf("messages-%d-%d", processes, goroutines)
	q, err := queue.Open[uint64](name, &queue.Options{Dir: dir, Capacity: 1024, Slots: 64})
	must(err)
	defer q.Close()
	var all []*process
	for range processes {
		all = append(all, own("receive", receiving{dir, name, goroutines}))
	}
	time.Sleep(20 * time.Millisecond) // until they park
	for _, p := range all {
		p.next()
	}
	var sends []time.Duration
	for end := time.Now().Add(*length); time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		start := time.Now()
		must(q.Send(context.Background(), 1))
		sends = append(sends, time.Since(start))
	}
	for _, p := range all {
		p.next()
		cpu += parse[usage](p.line()).CPU
		p.end()
	}
	return cpu / time.Duration(len(sends)), median(sends)
}
