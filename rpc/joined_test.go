package rpc_test

import (
	"errors"
	"testing"
	"time"

	shmwait "github.com/shmembox/shmem/internal/wait"
	"github.com/shmembox/shmem/rpc"
	"github.com/shmembox/shmem/shmemtest"
)

func init() { roles = append(roles, shmemtest.Role{Name: "patient", Run: patientClient}) }

// patientClient makes a call when it is told to. Its process never looks by itself for what rings no
// bell.
func patientClient(c *shmemtest.Conn) error {
	shmwait.LookLate(time.Hour)
	d, err := rpc.Dial[query, reply](background, "s", &rpc.DialOptions{
		Dir: c.Args()[0], WaitForServer: true,
	})
	if err != nil {
		return err
	}
	defer d.Close()
	c.Send("dialed")
	if _, err := c.Recv(); err != nil {
		return err
	}
	err = d.Call(background, &query{Do: block}, new(reply))
	c.Send("died %v", errors.Is(err, rpc.ErrServerDied))
	_, err = c.Recv()
	return err
}

// TestServerThatJoinedLater kills a server that came after the call was made, and has begun it. The
// client, which is alone then, hears of the death at once.
func TestServerThatJoinedLater(t *testing.T) {
	dir := shmemtest.Dir(t)
	stop := serve(t, dir, rpc.ServeOptions{Calls: 2}, handle)
	client := shmemtest.Start(t, "patient", dir)
	client.Expect(t, "dialed")
	check(t, stop()) // it has left no record for the client to look at
	check(t, client.Send("call"))
	waitForCalls(t, dir, 1)
	second := shmemtest.Start(t, "busyserver", dir)
	second.Expect(t, "begun")
	second.Kill()
	client.Expect(t, "died true")
	check(t, client.Send("end"))
	check(t, client.Wait())
}
