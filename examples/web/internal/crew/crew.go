// Package crew runs a server in several processes that listen at one address, kills them at random,
// and makes load by vegeta.
package crew

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

const soReusePort = 15 // of Linux; package syscall lacks it

// Listen listens at an address at which other processes listen too. The kernel gives each of them a
// part of the connections.
func Listen(addr string) (net.Listener, error) {
	shared := func(_, _ string, c syscall.RawConn) (err error) {
		e := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soReusePort, 1)
		})
		return errors.Join(e, err)
	}
	c := net.ListenConfig{Control: shared}
	return c.Listen(context.Background(), "tcp4", addr)
}

// Reserve returns an address at which no process listens. It is kept for Listen until this process
// ends.
func Reserve() (string, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soReusePort, 1); err != nil {
		return "", err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", err
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port), nil
}

// A Crew is the processes that serve now.
type Crew struct {
	args []string

	mu    sync.Mutex
	procs []*exec.Cmd // guarded by mu
}

// Start starts n workers: this program with other arguments. A worker says by [Ready] that it
// serves.
func Start(n int, args ...string) (*Crew, error) {
	c := &Crew{args: args, procs: make([]*exec.Cmd, n)}
	for i := range c.procs {
		if err := c.start(i); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// Ready tells the process that has started this one that it serves.
func Ready() { fmt.Println("ready") }

func (c *Crew) start(i int) error {
	cmd := exec.Command(os.Args[0], c.args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.procs[i] = cmd
	r := bufio.NewReader(out)
	if _, err := r.ReadString('\n'); err != nil {
		return fmt.Errorf("worker %d: %w", i, err)
	}
	go io.Copy(io.Discard, r)
	return nil
}

// Kill kills a worker, and starts the next one in its place.
func (c *Crew) Kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := rand.IntN(len(c.procs))
	c.end(i)
	return c.start(i)
}

func (c *Crew) end(i int) {
	if cmd := c.procs[i]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it says that it was killed
		c.procs[i] = nil
	}
}

// Close kills all workers.
func (c *Crew) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.procs {
		c.end(i)
	}
	return nil
}

// A Load is requests of one client, each with a connection of its own.
type Load struct {
	From string                // the address of the client
	Rate int                   // requests a second
	N    int                   // requests; fewer on a slow machine
	URL  func(n uint64) string // of the request with this number, which no other request has
}

// NumberHeader is the header of a request that has its number.
const NumberHeader = "X-Number"

// A Reply is what came back.
type Reply struct {
	N    uint64 // number of the request
	From string
	Code int // 0: nothing came
	Body string
}

// Run makes all loads at the same time. Meanwhile it kills workers.
func (c *Crew) Run(kills int, loads ...Load) (all []Reply, err error) {
	replies := make(chan Reply)
	var wg sync.WaitGroup
	for _, l := range loads {
		wg.Go(func() { l.run(replies) })
	}
	ended := make(chan error, 1)
	go func() {
		var err error
		for range kills {
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			err = errors.Join(err, c.Kill())
		}
		ended <- err
	}()
	go func() {
		wg.Wait()
		close(replies)
	}()
	for r := range replies {
		all = append(all, r)
	}
	return all, <-ended
}

// requests counts all requests of this process.
var requests atomic.Uint64

func (l Load) run(replies chan<- Reply) {
	var numbers sync.Map // by URL
	target := func(t *vegeta.Target) error {
		n := requests.Add(1)
		t.Method, t.URL = "GET", fmt.Sprintf("%s#%d", l.URL(n), n)
		t.Header = http.Header{NumberHeader: {fmt.Sprint(n)}}
		numbers.Store(t.URL, n)
		return nil
	}
	// Without connections that are used again no request is sent twice.
	a := vegeta.NewAttacker(vegeta.KeepAlive(false), vegeta.Timeout(10*time.Second),
		vegeta.LocalAddr(net.IPAddr{IP: net.ParseIP(l.From)}))
	rate := vegeta.Rate{Freq: l.Rate, Per: time.Second}
	d := time.Duration(l.N) * time.Second / time.Duration(l.Rate)
	for r := range a.Attack(target, rate, d, l.From) {
		n, _ := numbers.Load(r.URL)
		reply := Reply{n.(uint64), l.From, int(r.Code), string(r.Body)}
		if r.Code == 200 && r.Error != "" { // a part of the reply
			reply.Code = 0
		}
		replies <- reply
	}
}

// CheckOnce checks that each request with a reply was counted once, and no other one twice. count
// returns how often a request was counted.
func CheckOnce(all []Reply, count func(n uint64) (int64, error)) (lost int, err error) {
	for _, r := range all {
		n, err := count(r.N)
		if err != nil {
			return 0, err
		}
		if n > 1 || n < 1 && r.Code != 0 {
			return 0, fmt.Errorf("request %d with the reply %d was counted %d times", r.N, r.Code,
				n)
		}
		if r.Code == 0 {
			lost++
		}
	}
	return lost, nil
}
