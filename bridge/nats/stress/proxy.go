package main

import (
	"net"
	"sync"
)

// A proxy stands between the bridges and a server. It can cut all connections, or hold what is on
// its way while neither end is told.
type proxy struct {
	l      net.Listener
	target string

	mu    sync.Mutex
	moved sync.Cond         // at each change of held
	cut   bool              // guarded by mu
	held  bool              // guarded by mu
	conns map[net.Conn]bool // guarded by mu
}

func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{l: l, target: target, conns: map[net.Conn]bool{}}
	p.moved.L = &p.mu
	go p.serve()
	return p, nil
}

func (p *proxy) serve() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.join(c)
	}
}

// join connects c to the server.
func (p *proxy) join(c net.Conn) {
	defer func() { _ = c.Close() }()
	s, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	p.mu.Lock()
	if p.cut {
		p.mu.Unlock()
		return
	}
	p.conns[c], p.conns[s] = true, true
	p.mu.Unlock()
	done := make(chan struct{}, 2)
	move := func(to, from net.Conn) { p.move(to, from); done <- struct{}{} }
	go move(s, c)
	go move(c, s)
	<-done
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, s)
	p.mu.Unlock()
}

// move copies until an end is closed.
func (p *proxy) move(to, from net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		for p.held {
			p.moved.Wait()
		}
		p.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// set cuts all connections, or lets them be made again.
func (p *proxy) set(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

// hold holds what is on its way, or lets it go on.
func (p *proxy) hold(held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = held
	p.moved.Broadcast()
}

func (p *proxy) close() { _ = p.l.Close(); p.hold(false); p.set(true) }
