// The command replay builds the simulator and runs scenarios in it.
package main

import (
	"os"
	"github.com/shmembox/shmem/tests/replay"
)

func main() {
	_, err := replay.Build(".", "/tmp/rp/b", nil)
	if err != nil { println(err.Error()); os.Exit(1) }
}
