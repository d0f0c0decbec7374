// Command calls is a service whose server is killed and restarted under 100 callers.
//
//	go run ./examples/calls
//
// The callers add numbers to accounts. The server keeps them in a map in shared memory, so they
// outlive it. Each addition has a number, by which the server sees that it has made it already: the
// handler may run twice, so the client declares its calls idempotent, and they wait while there is
// no server. So no caller sees an error, whatever happens to the servers, and each addition counts
// once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/shmembox/shmem/kv"
	"github.com/shmembox/shmem/rpc"
)

// Add asks to add N to an account. Number is another one for each addition to the account.
type Add struct{ Account, Number, N int64 }

// Sum is the sum of the account after the addition.
type Sum struct{ Sum int64 }

// Account is what the server knows of an account.
type Account struct{ Last, Sum int64 }

var errOrder = errors.New("additions are missing")

var (
	name    = flag.String("name", "calls", "name of the service, and beginning of other names")
	callers = flag.Int("callers", 100, "callers")
	each    = flag.Int("each", 50, "additions of each caller")
	kills   = flag.Int("kills", 5, "how often the server is killed")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	run := callAll
	if flag.NArg() > 0 {
		run = serve
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func openAccounts() (*kv.Map[int64, Account], error) {
	return kv.Open[int64, Account](*name+"-accounts", &kv.Options{Capacity: 1000})
}

// serve serves until the process is killed.
func serve(ctx context.Context) error {
	accounts, err := openAccounts()
	if err != nil {
		return err
	}
	defer accounts.Close()
	return rpc.Serve(ctx, *name, func(ctx context.Context, q *Add, s *Sum) error {
		return accounts.Update(ctx, q.Account, func(a *Account, _ bool) (bool, error) {
			switch q.Number {
			case a.Last: // it was made before the last server died
			case a.Last + 1:
				a.Last, a.Sum = q.Number, a.Sum+q.N
			default:
				return false, errOrder
			}
			s.Sum = a.Sum
			return true, nil
		})
	}, &rpc.ServeOptions{Errors: []error{errOrder}})
}

// A server is the process that serves now.
type server struct{ cmd *exec.Cmd }

func (s *server) start() error {
	s.cmd = exec.Command(os.Args[0], "-name", *name, "serve")
	s.cmd.Stderr = os.Stderr
	return s.cmd.Start()
}

func (s *server) kill() error {
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = s.cmd.Wait() // it says that it was killed
	return nil
}

// callAll makes all calls, and kills the server meanwhile.
func callAll(ctx context.Context) error {
	accounts, err := openAccounts() // keeps the accounts while no server is there
	if err != nil {
		return err
	}
	defer accounts.Close()
	var s server
	if err := s.start(); err != nil {
		return err
	}
	defer func() { _ = s.kill() }()
	client, err := rpc.Dial[Add, Sum](ctx, *name, &rpc.DialOptions{
		Idempotent: true, WaitForServer: true, Errors: []error{errOrder},
	})
	if err != nil {
		return err
	}
	defer client.Close() // the last one: it removes what the killed servers have left
	defer func() { _ = s.kill() }()

	failed := make(chan error, *callers)
	var wg sync.WaitGroup
	for i := range *callers {
		wg.Go(func() {
			if err := call(ctx, client, int64(i)); err != nil {
				failed <- err
			}
		})
	}
	for range *kills {
		time.Sleep(20 * time.Millisecond)
		if err := s.kill(); err != nil {
			return err
		}
		if err := s.start(); err != nil {
			return err
		}
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	fmt.Printf("%d callers made %d additions each, %d servers were killed\n", *callers, *each,
		*kills)
	return nil
}

// call adds to an account, and checks each sum.
func call(ctx context.Context, client *rpc.Client[Add, Sum], account int64) error {
	want := int64(0)
	for n := range int64(*each) {
		var s Sum
		if err := client.Call(ctx, &Add{account, n + 1, n}, &s); err != nil {
			return err
		}
		if want += n; s.Sum != want {
			return fmt.Errorf("account %d is %d, want %d", account, s.Sum, want)
		}
	}
	return nil
}
