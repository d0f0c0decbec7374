// Command stress kills bridges, servers and owners at random and cuts their connections, while a
// box, a topic and a queue go from one directory to another. It kills bridges at each of their
// steps too. It checks that nothing that was accepted is lost, that nothing comes twice, and that
// the mirror of the box never goes back, and says how long it took until something came through
// again.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"time"
)

// A plan says what is done to the processes.
type plan struct {
	bridges, servers, owners, cuts, holds int
	steps                                 string        // see parseDeaths
	each                                  int           // kills at each step
	replicas                              int           // so many servers too: 1 or 3
	pause                                 time.Duration // between two of these, on average
	cut                                   time.Duration // the longest cut
	rate                                  time.Duration // between two messages
	seed                                  uint64
}

func main() {
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		if err := child(os.Args[1], os.Args[2:]); err != nil {
			log.Fatal(err)
		}
		return
	}
	var p plan
	flag.IntVar(&p.bridges, "bridges", 200, "kills of bridges")
	flag.IntVar(&p.servers, "servers", 50, "kills of the server")
	flag.IntVar(&p.owners, "owners", 20, "kills of the owner of the box")
	flag.IntVar(&p.cuts, "cuts", 20, "cuts of all connections, after which they can be made again")
	flag.IntVar(&p.holds, "holds", 0, "times that the link hangs, and neither end is told")
	flag.StringVar(&p.steps, "steps", "all", "kill bridges at steps: all of the bridge, "+
		"library for those of the library too, or names with commas")
	flag.IntVar(&p.each, "each", 1, "kills at each step")
	flag.IntVar(&p.replicas, "replicas", 1, "servers: 1, or 3 that have a copy each")
	flag.DurationVar(&p.pause, "pause", 300*time.Millisecond, "between two of these")
	flag.DurationVar(&p.cut, "cut", 2*time.Second, "the longest cut; the shortest is 0.1 s")
	flag.DurationVar(&p.rate, "rate", time.Millisecond, "between two messages")
	flag.Uint64Var(&p.seed, "seed", uint64(time.Now().UnixNano()), "of the random order")
	flag.Parse()
	r, err := run(context.Background(), p)
	if r != nil {
		fmt.Println(r)
	}
	if err != nil {
		log.Fatal(err)
	}
}
