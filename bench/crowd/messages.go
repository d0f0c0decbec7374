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
	Floor      bool // by a raw futex
}

// receive is a process whose goroutines receive. It returns its CPU time between two lines.
func receive(param string) error {
	r := parse[receiving](param)
	if r.Floor {
		return r.floor()
	}
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
	return report()
}

// floor is the least that a Go program does: one goroutine sleeps on a raw futex, which looks every
// 100 ms, and hands each wake-up to one of those that wait at a channel.
func (r *receiving) floor() error {
	w, err := mapWords(r.Dir, r.Name)
	if err != nil {
		return err
	}
	c := make(chan struct{})
	for range r.Goroutines - 1 {
		go func() {
			for range c {
			}
		}()
	}
	go func() {
		for {
			futexWait(&w[0], w[0].Load(), true)
			if r.Goroutines > 1 {
				c <- struct{}{}
			}
		}
	}()
	return report()
}

// report says what the process has used between two lines.
func report() error {
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
	least := make([][]time.Duration, len(cases))
	ratio, leastRatio := make([][]float64, len(cases)), make([][]float64, len(cases))
	above := make([][]float64, len(cases))
	for range *rounds {
		var first, leastFirst time.Duration
		for i, c := range cases {
			all, each := message(c.processes, c.goroutines)
			floor := leastMessage(c.processes, c.goroutines)
			if i == 0 {
				first, leastFirst = all, floor
			}
			cpu[i], send[i] = append(cpu[i], all), append(send[i], each)
			least[i] = append(least[i], floor)
			ratio[i] = append(ratio[i], float64(all)/float64(first))
			leastRatio[i] = append(leastRatio[i], float64(floor)/float64(leastFirst))
			above[i] = append(above[i], float64(all)/float64(floor))
		}
	}
	title("One message a millisecond to idle receivers; the floor is a raw futex and a channel",
		"processes × goroutines", "CPU of the receivers a message", "× that of 1", "Send, median",
		"floor: CPU", "floor: × that of 1", "× floor")
	for i, c := range cases {
		row(fmt.Sprintf("%d × %d", c.processes, c.goroutines), micro(median(cpu[i])),
			times(median(ratio[i])), micro(median(send[i])), micro(median(least[i])),
			times(median(leastRatio[i])), times(median(above[i])))
	}
}

// message returns the CPU time of all receivers a message, and the median time of Send.
func message(processes, goroutines int) (cpu, send time.Duration) {
	name := fmt.Sprintf("messages-%d-%d", processes, goroutines)
	q, err := queue.Open[uint64](name, &queue.Options{Dir: dir, Capacity: 1024, Slots: 64})
	must(err)
	defer q.Close()
	r := receiving{Dir: dir, Name: name, Goroutines: goroutines}
	return r.measure(processes, func() { must(q.Send(context.Background(), 1)) })
}

// leastMessage is message by a raw futex.
func leastMessage(processes, goroutines int) (cpu time.Duration) {
	name := fmt.Sprintf("least-%d-%d", processes, goroutines)
	w, err := mapWords(dir, name)
	must(err)
	r := receiving{Dir: dir, Name: name, Goroutines: goroutines, Floor: true}
	cpu, _ = r.measure(processes, func() {
		w[0].Add(1)
		futexWake(&w[0])
	})
	return cpu
}

// measure sends a message a millisecond to so many processes.
func (r receiving) measure(processes int, f func()) (cpu, send time.Duration) {
	var all []*process
	for range processes {
		all = append(all, own("receive", r))
	}
	time.Sleep(20 * time.Millisecond) // until they park
	for _, p := range all {
		p.next()
	}
	var sends []time.Duration
	for end := time.Now().Add(*length); time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		start := time.Now()
		f()
		sends = append(sends, time.Since(start))
	}
	for _, p := range all {
		p.next()
		cpu += parse[usage](p.line()).CPU
		p.end()
	}
	return cpu / time.Duration(len(sends)), median(sends)
}
