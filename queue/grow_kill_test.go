package queue_test

import (
	"fmt"
	"testing"

	"github.com/shmembox/shmem"
	"github.com/shmembox/shmem/internal/step"
	"github.com/shmembox/shmem/queue"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "grower", Run: grower}) }

// grower attaches with the longer type and kills itself at a step, or in the middle of a message.
func grower(c *shmemtest.Conn) error {
	at := step.Point(c.Args()[1])
	step.Hook(func(p step.Point) {
		if p == at {
			shmemtest.Die()
		}
	})
	o := options(c.Args()[0])
	o.Append = true
	q, err := queue.Attach[job2]("q", o)
	if err == nil {
		err = q.SendFunc(background, func(v *job2) error { *v = job2{1, 3, 9, [5]byte{9}}; return nil })
	}
	return fmt.Errorf("it went on: %v", err)
}

// TestGrowKilled kills the process that appends fields at every step of that: the queue has the old
// type or the new one, and the processes of both versions go on.
func TestGrowKilled(t *testing.T) {
	for _, at := range []step.Point{
		step.AttachRead, step.AttachGate, step.AttachSlot, step.AttachRecord, step.SchemaWrite,
		step.AttachRelease, step.QueueClaimed, step.QueueWritten, step.QueuePublished,
	} {
		t.Run(string(at), func(t *testing.T) {
			dir := shmemtest.Dir(t)
			o := options(dir)
			o.Capacity, o.Reserve = 2, 16
			q1, err := queue.Create[job1]("q", o)
			check(t, err)
			defer q1.Close()
			err = shmemtest.Start(t, "grower", dir, string(at)).Wait()
			if !shmemtest.Killed(err) {
				t.Fatalf("not killed: %v", err)
			}
			if at == step.QueuePublished {
				if v, err := q1.Recv(background); v != (job1{1, 3}) || err != nil {
					t.Error(v, err)
				}
			}
			again, err := queue.Attach[job1]("q", options(dir))
			check(t, err)
			o = &queue.Options{Dir: dir, Lifetime: shmem.Owned, Append: true}
			q2, err := queue.Attach[job2]("q", o)
			check(t, err)
			for i := range int64(5) { // over what the dead process wrote
				check(t, again.Send(background, job1{i, i}))
				if v, err := q2.Recv(background); v != (job2{ID: i, Sum: i}) || err != nil {
					t.Error(v, err)
				}
				check(t, q2.Send(background, job2{i, i, 7, [5]byte{7}}))
				if v, err := q1.Recv(background); v != (job1{i, i}) || err != nil {
					t.Error(v, err)
				}
			}
			check(t, again.Close())
			check(t, q2.Close())
		})
	}
}
