package oracle

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// A Change is a call at a number: it adds to it, sets it, or reads it.
type Change struct {
	Set, Add, Read bool
	N              uint64
}

// Register is a number. The output of a call is what the number was before.
var Register = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		was, c := state.(uint64), input.(Change)
		if seen, ok := output.(uint64); ok && !c.Set && seen != was {
			return false, was
		}
		switch {
		case c.Set:
			return true, c.N
		case c.Add:
			return true, was + c.N
		}
		return true, was
	},
	DescribeOperation: func(input, output any) string {
		c := input.(Change)
		switch {
		case c.Set:
			return fmt.Sprintf("set %d", c.N)
		case c.Add:
			return fmt.Sprintf("add %d: %v", c.N, output)
		}
		return fmt.Sprintf("read: %v", output)
	},
}
