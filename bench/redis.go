package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// redis is a client of the little that is needed.
type redis struct {
	c net.Conn
	r *bufio.Reader
	w *bufio.Writer
}

// startRedis starts a server for this trial.
func startRedis(t *Trial) (*redis, error) {
	c := exec.Command(t.Tools["redis"], "--port", "0", "--unixsocket", t.Path("redis"), "--save",
		"", "--appendonly", "no", "--dir", t.Dir)
	if err := t.Launch(c); err != nil {
		return nil, err
	}
	return dialRedis(t)
}

func dialRedis(t *Trial) (*redis, error) {
	path := t.Await("redis")
	for i := 0; ; i++ {
		c, err := net.Dial("unix", path)
		if err == nil {
			return &redis{c, bufio.NewReader(c), bufio.NewWriter(c)}, nil
		}
		if i > 1000 {
			return nil, err
		}
		time.Sleep(time.Millisecond)
	}
}

// Do sends a command and returns its answer: the string, or the number.
func (r *redis) Do(args ...string) (string, error) {
	fmt.Fprintf(r.w, "*%d\r\n", len(args))
	for _, a := range args {
		r.w.WriteString("$" + strconv.Itoa(len(a)) + "\r\n" + a + "\r\n")
	}
	if err := r.w.Flush(); err != nil {
		return "", err
	}
	return r.Read()
}

// Read reads an answer, or what a subscriber is told; of a list the last item.
func (r *redis) Read() (string, error) {
	line, err := r.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	n, _ := strconv.Atoi(line[1:])
	switch line[0] {
	case '-':
		return "", fmt.Errorf("redis: %s", line)
	case '$':
		if n < 0 {
			return "", nil
		}
		b := make([]byte, n+2)
		_, err := io.ReadFull(r.r, b)
		return string(b[:n]), err
	case '*':
		for range n {
			if line, err = r.Read(); err != nil {
				return "", err
			}
		}
		return line, nil
	}
	return line[1:], nil
}

var redisCounter = Contender{Name: "Redis INCR", Kind: Peer, Needs: "redis",
	Run: func(t *Trial) error {
		if _, err := startRedis(t); err != nil {
			return err
		}
		m, err := mapShared(t, 0, "counts", 4096)
		if err != nil {
			return err
		}
		for range 2 {
			if _, err := t.Start(redisClient); err != nil {
				return err
			}
		}
		n := as[atomic.Int64](m)
		for n.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		return t.Count(func() int { return int(n.Load()) })
	}}

var redisClient = role("redis client", func(t *Trial) error {
	m, err := mapShared(t, 1, "counts", 4096)
	if err != nil {
		return err
	}
	r, err := dialRedis(t)
	for n := as[atomic.Int64](m); err == nil; n.Add(1) {
		_, err = r.Do("INCR", "counter")
	}
	return err
})
