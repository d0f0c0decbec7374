package limit_test

import (
	"slices"
	"testing"
	"time"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/limit"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "drawer", Run: drawer}) }

const childBurst = 1000

// drawer takes tokens as its parent says. At the step of its second argument it says so and stays.
func drawer(c *shmemtest.Conn) error {
	box, err := shmem.Attach[state]("limits", &shmem.Options{Dir: c.Args()[0]})
	if err != nil {
		return err
	}
	if at := c.Args()[1]; at != "" {
		step.Hook(func(p step.Point) {
			if string(p) == at {
				c.Send("reached")
				select {}
			}
		})
	}
	l := limit.New(&box.Value().Bucket, hourly, childBurst)
	c.Send("ready")
	for {
		line, err := c.Recv()
		if err != nil {
			return err
		}
		switch line {
		case "allow":
			c.Send("%v", l.Allow())
		case "cancel": // of a reservation that waits
			l.ReserveN(time.Now(), 1).Cancel()
			c.Send("canceled")
		case "all": // counts each token that it has taken
			c.Send("begun")
			for l.Allow() {
				box.Value().Allowed.Add(1)
			}
			c.Send("done")
		}
	}
}

// left takes what is in the bucket, and returns how many tokens that was.
func left(l *limit.Limiter) (n int) {
	for l.Allow() {
		n++
	}
	return n
}

// TestKillAtEveryStep kills a process at each step. Its tokens are taken or not, and the others go
// on.
func TestKillAtEveryStep(t *testing.T) {
	for _, p := range step.Limit {
		t.Run(string(p), func(t *testing.T) {
			dir := shmemtest.Dir(t)
			box := open(t, dir, shmem.Options{})
			l := limit.New(&box.Value().Bucket, hourly, childBurst)
			boot, full := box.Value().Bucket.Words()
			order, taken := "allow", []int{0}
			switch p {
			case step.LimitStale, step.LimitBoot:
				boot.Store(99)
				full.Store(1 << 61)
			case step.LimitTaken:
				taken = []int{1}
			case step.LimitCanceled:
				left(l)
				order, taken = "cancel", []int{childBurst}
			}
			c := shmemtest.Start(t, "drawer", dir, string(p))
			c.Expect(t, "ready")
			check(t, c.Send("%s", order))
			c.Expect(t, "reached")
			check(t, c.Stop()) // a stopped process holds nothing up
			if n := childBurst - left(l); !slices.Contains(taken, n) {
				t.Errorf("%d tokens were taken, want one of %v", n, taken)
			}
			c.Kill()
			if l.Allow() {
				t.Error("a token of a dead process")
			}
			check(t, box.Close())
		})
	}
}

// TestKilled has processes that count their tokens, and kills all but one of them meanwhile: each
// can have taken one that it has not counted.
func TestKilled(t *testing.T) {
	const children, rounds = 3, 3
	for range rounds {
		dir := shmemtest.Dir(t)
		box := open(t, dir, shmem.Options{})
		var all []*shmemtest.Child
		for range children {
			c := shmemtest.Start(t, "drawer", dir, "")
			c.Expect(t, "ready")
			all = append(all, c)
		}
		for _, c := range all {
			check(t, c.Send("all"))
		}
		for _, c := range all[1:] {
			c.Expect(t, "begun")
			c.Kill()
		}
		all[0].Expect(t, "begun")
		all[0].Expect(t, "done")
		check(t, all[0].Close())
		n := box.Value().Allowed.Load()
		if n > childBurst || n < childBurst-(children-1) {
			t.Errorf("%d tokens were counted of %d, %d processes were killed", n, childBurst,
				children-1)
		}
		check(t, box.Close())
	}
}
