//go:build linux

package main

import (
	"fmt"
	"slices"
	"time"
)

// A limit compares a case with its limit.
type limit struct {
	what        string
	here, limit string  // keys
	aim         float64 // 0: none, the row shows a limit
	cpu         bool    // by processor time
}

func limits() (all []limit) {
	add := func(aim float64, what, here, bound string) {
		all = append(all, limit{what: what, here: here, limit: bound, aim: aim})
	}
	for _, size := range []string{"8", "64"} {
		group := size + " bytes one by one/"
		add(1, size+" B, 1:1 between two processes; a Go channel in one",
			group+"queue, Sender and Receiver", group+"Go channel, one process")
		bare := func(what, group string) {
			for _, name := range bareKinds {
				add(0, what+"; "+name, group+"queue, Sender and Receiver", group+name)
			}
		}
		bare(size+" B, 1:1 between two processes", group)
		for _, k := range []string{"1", "2", "4"} {
			what := fmt.Sprintf("%s B, %s:%s in one process", size, k, k)
			group := fmt.Sprintf("%s bytes, %s senders and %s receivers in one process/",
				size, k, k)
			add(1, what+"; a Go channel", group+"queue, Sender and Receiver", group+"Go channel")
			bare(what, group)
		}
		add(1.25, size+" B, `Single`; the bare ring",
			group+"queue, Single, Sender and Receiver", group+"bare ring, spinning")
	}
	add(1.3, "round trip, spinning, `Single`; two words by hand",
		"round trip/queue, Single, TryRecv in a loop", "round trip/bare cache line bounce")
	add(1.3, "round trip, spinning; two words by hand",
		"round trip/queue, TryRecv in a loop", "round trip/bare cache line bounce")
	add(1.3, "round trip, spinning, `Single`; bare rings",
		"round trip/queue, Single, TryRecv in a loop", "round trip/bare rings, spinning")
	add(1.3, "round trip, spinning; bare rings",
		"round trip/queue, TryRecv in a loop", "round trip/bare rings, spinning")
	const group = "messages of 4096 bytes/"
	add(2, "4 KiB in place, `Single`; the bare ring", group+"Bytes, Single, in place",
		group+"bare ring, spinning, in place")
	add(2, "4 KiB in place; the bare ring", group+"Bytes, in place",
		group+"bare ring, spinning, in place")
	add(2, "4 KiB copied, `Single`; the bare ring, copied in and out",
		group+"Bytes, Single, copied", group+"bare ring, spinning, copied")
	add(2, "4 KiB copied; the bare ring, copied in and out", group+"Bytes, copied",
		group+"bare ring, spinning, copied")
	for _, name := range []string{
		"TryRecv of an empty queue", "RecvFunc that fails", "1 ms of waiting",
	} {
		for _, n := range []string{"20", "23"} {
			all = append(all, limit{what: name + ", 2^" + n + " places; 2^10", aim: 2, cpu: true,
				here: "2^" + n + " places/" + name, limit: "2^10 places/" + name})
		}
	}
	return all
}

// wanted reports whether a limit has the case.
func wanted(b *bench) bool {
	return slices.ContainsFunc(limits(), func(l limit) bool {
		return l.here == b.key() || l.limit == b.key()
	})
}

// printLimits prints a table in Markdown. A ratio is the median of the rounds' ratios.
func printLimits(all []bench, measured []series) {
	fmt.Println("| case; its limit | ns | limit, ns | × | aim |")
	fmt.Println("|---|--:|--:|--:|--:|")
	for _, l := range limits() {
		find := func(key string) []time.Duration {
			i := slices.IndexFunc(all, func(b bench) bool { return b.key() == key })
			if i < 0 { // -only leaves it out
				return nil
			}
			if l.cpu {
				return measured[i].cpu
			}
			return measured[i].wall
		}
		here, bound := find(l.here), find(l.limit)
		if here == nil || bound == nil {
			continue
		}
		ratios := make([]float64, len(here))
		for i := range here {
			ratios[i] = float64(here[i]) / float64(bound[i])
		}
		slices.Sort(ratios)
		aim := ""
		if l.aim > 0 {
			aim = fmt.Sprintf("%.2f", l.aim)
		}
		fmt.Printf("| %s | %.1f | %.1f | %.2f | %s |\n", l.what, median(slices.Clone(here)),
			median(slices.Clone(bound)), ratios[len(ratios)/2], aim)
	}
}
