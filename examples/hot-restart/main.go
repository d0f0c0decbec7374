//go:build unix

// Command hot-restart replaces a server by its next version, which goes on with the same memory and
// the same socket. No request is lost, and none that was answered is forgotten.
//
//	go run ./examples/hot-restart             the versions overlap
//	go run ./examples/hot-restart -how apart  one ends before the next begins
//	go run ./examples/hot-restart -how exec   the process replaces itself
//
// The parent is what systemd is elsewhere: it holds the listening socket, hands it to each version
// (LISTEN_FDS, LISTEN_PID), starts the next version when one dies, and removes nothing. The box is
// created Kept, so it is there for the next version, however the last one has ended. The last
// version of all ends by Own and Close, which remove the box.
//
// With -die 1:counted version 1 kills itself when it has counted a request and not answered it. The
// moments are started, opened, accepted, counted, leaving and closed.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/shmembox/shmem"
)

// Served is the value of the box.
type Served struct{ Requests int64 }

var (
	name    = flag.String("name", "hot-restart", "name of the box")
	how     = flag.String("how", "overlap", "overlap, apart or exec")
	die     = flag.String("die", "", "version:moment at which a server kills itself")
	version = flag.Int("version", 0, "be this version of the server")
)

// main alone ends the process, because log.Fatal runs no deferred Close.
func main() {
	log.SetFlags(0)
	flag.Parse()
	run := supervise
	if *version > 0 {
		run = serve
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// serve answers requests until a signal: SIGTERM ends this version, SIGHUP replaces it by the next
// one in this process, SIGINT ends the service.
func serve() error {
	moment("started")
	l, err := inherited()
	if err != nil {
		return err
	}
	box, err := shmem.Open[Served](*name, &shmem.Options{Lifetime: shmem.Kept})
	if err != nil {
		return err
	}
	defer box.Close() // after an error; a second Close does nothing
	moment("opened")
	signals, last := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	go func() {
		last <- <-signals
		l.Close() // the supervisor has the socket still: connections wait for the next version
	}()
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			return err
		}
		if err := answer(c, box); err != nil {
			return err
		}
	}
	moment("leaving")
	why := <-last
	if why == syscall.SIGINT {
		// So Close removes the box. Another version may have ended the service already.
		if err := box.Own(); err != nil && !errors.Is(err, shmem.ErrDropped) {
			return err
		}
	}
	if err := box.Close(); err != nil {
		return err
	}
	moment("closed")
	if why == syscall.SIGHUP {
		// All locks of the kernel go with this program, and all memory. The socket stays.
		return syscall.Exec("/proc/self/exe", append(os.Args[:1:1], arguments(*version+1)...),
			os.Environ())
	}
	return nil
}

// answer counts a request, and answers with the count.
func answer(c net.Conn, box *shmem.Box[Served]) error {
	defer c.Close()
	moment("accepted")
	var n int64
	err := box.Update(context.Background(), func(s *Served) error {
		s.Requests++
		n = s.Requests
		return nil
	})
	if err != nil {
		return err
	}
	moment("counted")
	_, _ = fmt.Fprintln(c, n) // the client may be gone
	return nil
}

// inheritedSocket stays open over an exec: it is not closed by a finalizer.
var inheritedSocket = os.NewFile(3, "socket")

// inherited returns the socket that the supervisor hands over, as sd_listen_fds(3) describes.
func inherited() (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") != "1" {
		return nil, errors.New("no socket was handed over: LISTEN_PID and LISTEN_FDS say so")
	}
	return net.FileListener(inheritedSocket)
}

// moment kills this process if it is the one that dies, and this is when.
func moment(now string) {
	if *die == fmt.Sprintf("%d:%s", *version, now) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func arguments(version int) []string {
	return []string{"-name", *name, "-how", *how, "-die", *die, fmt.Sprint("-version=", version)}
}

// A supervisor is what systemd is elsewhere.
type supervisor struct {
	socket *os.File
	addr   string

	mu      sync.Mutex
	started int       // versions; guarded by mu
	running []*server // guarded by mu
	ending  bool      // no version is started any more that dies; guarded by mu
}

// A server is a running version.
type server struct {
	cmd   *exec.Cmd
	ready chan struct{} // has one token each time the server is ready
	ended chan struct{} // closed
	asked bool          // to end; guarded by supervisor.mu
}

// start starts the next version, and waits until it is ready or has ended. The next one is started
// if it dies before it is asked to end.
func (s *supervisor) start() error {
	s.mu.Lock()
	p, err := s.launch()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	p.await()
	return nil
}

// await waits until the server is ready or has ended.
func (p *server) await() {
	select {
	case <-p.ready:
	case <-p.ended:
	}
}

// launch is start that does not wait. s.mu is held.
func (s *supervisor) launch() (*server, error) {
	s.started++
	p := &server{ready: make(chan struct{}, 2), ended: make(chan struct{})}
	// The shell knows the pid that the server will have.
	args := append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0]},
		arguments(s.started)...)
	p.cmd = exec.Command("sh", args...)
	p.cmd.Env = append(os.Environ(), "LISTEN_FDS=1")
	p.cmd.ExtraFiles = []*os.File{s.socket}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	s.running = append(s.running, p)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.ready <- struct{}{}
		}
		_ = p.cmd.Wait()
		s.ended(p)
	}()
	return p, nil
}

// ended starts the next version if p has died.
func (s *supervisor) ended(p *server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = slices.DeleteFunc(s.running, func(q *server) bool { return q == p })
	if !p.asked && !s.ending {
		if _, err := s.launch(); err != nil {
			log.Print(err)
		}
	}
	close(p.ended)
}

// all returns the versions that run now.
func (s *supervisor) all() []*server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.running)
}

// ask asks servers to end.
func (s *supervisor) ask(servers []*server, sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range servers {
		p.asked = true
		_ = p.cmd.Process.Signal(sig)
	}
}

// replace replaces the running version by the next one.
func (s *supervisor) replace() error {
	old := s.all()
	switch *how {
	case "exec":
		for _, p := range old {
			for len(p.ready) > 0 {
				<-p.ready
			}
			_ = p.cmd.Process.Signal(syscall.SIGHUP)
			p.await() // ready again; or it died, and the next version was started
		}
		return nil
	case "apart":
		s.ask(old, syscall.SIGTERM)
		for _, p := range old {
			<-p.ended
		}
		return s.start()
	}
	if err := s.start(); err != nil {
		return err
	}
	s.ask(old, syscall.SIGTERM)
	return nil
}

// request sends a request, again and again until it is answered.
func (s *supervisor) request() (count int64, again int, err error) {
	for ; again < 100; again++ {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			return 0, again, err
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = fmt.Fscanln(c, &count)
		_ = c.Close()
		if err == nil {
			return count, again, nil
		}
	}
	return 0, again, errors.New("a request is not answered")
}

// inheritable returns a file of the socket to hand over. Fd, which exec.Cmd calls for ExtraFiles,
// makes a file blocking that was not, and so the socket of servers that run: one of two that accept
// the same connection then hangs. It leaves a file alone that was blocking when it was made.
func inheritable(l *net.TCPListener) (*os.File, error) {
	f, err := l.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "socket"), nil
}

// supervise starts a server, sends requests, and replaces the server in between.
func supervise() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	s := &supervisor{addr: l.Addr().String()}
	if s.socket, err = inheritable(l.(*net.TCPListener)); err != nil {
		return err
	}
	defer s.socket.Close()
	if err := s.start(); err != nil {
		return err
	}
	const each = 3
	var last int64
	again := 0
	for i := range 3 * each {
		if i > 0 && i%each == 0 {
			if err := s.replace(); err != nil {
				return err
			}
		}
		count, n, err := s.request()
		if err != nil {
			return err
		}
		// A request that was counted and not answered is counted twice.
		if again += n; count <= last || count > int64(i+1+again) {
			return fmt.Errorf("request %d is counted as %d, after %d", i+1, count, last)
		}
		last = count
	}
	fmt.Println(3*each, "requests are answered and counted")
	return s.end()
}

// end ends the service, by one version that removes the box.
func (s *supervisor) end() error {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	for range 100 {
		all := s.all()
		s.ask(all, syscall.SIGINT)
		for _, p := range all {
			<-p.ended
		}
		if _, err := shmem.Stat("", *name); err != nil {
			fmt.Println("the box is gone")
			return nil
		}
		// It died before it had removed the box.
		if err := s.start(); err != nil {
			return err
		}
	}
	return errors.New("the box is still there")
}
