package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// servers are one server or the three of a cluster, each behind a proxy.
type servers struct {
	all     []*process
	proxies []*proxy
	url     string // of the proxies
	direct  string // of the servers, for what is not to be cut
}

// startServers starts n servers whose streams are in directories under store.
func startServers(n int, store string) (*servers, error) {
	s := &servers{}
	ports, err := freePorts(2 * n)
	if err != nil {
		return nil, err
	}
	var urls, direct []string
	for i := range n {
		b, err := json.Marshal(node{fmt.Sprintf("%s/%d", store, i), i, ports[:n], ports[n:]})
		if err != nil {
			return nil, err
		}
		s.all = append(s.all, &process{args: []string{"server", string(b)}})
		address := fmt.Sprintf("127.0.0.1:%d", ports[i])
		p, err := newProxy(address)
		if err != nil {
			return nil, err
		}
		s.proxies = append(s.proxies, p)
		urls = append(urls, "nats://"+p.l.Addr().String())
		direct = append(direct, "nats://"+address)
	}
	s.url, s.direct = strings.Join(urls, ","), strings.Join(direct, ",")
	for _, p := range s.all {
		if err := p.start(); err != nil {
			return s, err
		}
	}
	for _, p := range s.all {
		if err := p.ready(); err != nil {
			return s, err
		}
	}
	return s, nil
}

func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func (s *servers) close() {
	for _, p := range s.proxies {
		p.close()
	}
	for _, p := range s.all {
		if p.cmd != nil && p.cmd.Process != nil {
			p.kill()
		}
	}
}

// set cuts all connections, or lets them be made again.
func (s *servers) set(cut bool) {
	for _, p := range s.proxies {
		p.set(cut)
	}
}

// hold holds what is on its way, or lets it go on.
func (s *servers) hold(held bool) {
	for _, p := range s.proxies {
		p.hold(held)
	}
}

// leader returns the server that leads a stream; the only one if there is one.
func (s *servers) leader(ctx context.Context, stream string) (*process, error) {
	if len(s.all) == 1 {
		return s.all[0], nil
	}
	info, err := s.info(ctx, stream)
	if err != nil {
		return nil, err
	}
	var i int
	if _, err := fmt.Sscanf(info.Cluster.Leader, "s%d", &i); err != nil || i >= len(s.all) {
		return nil, fmt.Errorf("the leader is %q", info.Cluster.Leader)
	}
	return s.all[i], nil
}

func (s *servers) info(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	nc, err := nats.Connect(s.direct)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	c, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	st, err := js.Stream(c, stream)
	if err != nil {
		return nil, err
	}
	if info := st.CachedInfo(); info.Cluster != nil {
		return info, nil
	}
	return nil, errors.New("the stream has no leader")
}

// whole waits until all replicas of the streams have what the leader has: a server that is killed
// while another one lags behind leaves one replica of three, and the streams stop.
func (s *servers) whole(ctx context.Context, streams ...string) {
	if len(s.all) == 1 {
		return
	}
	for begun := time.Now(); time.Since(begun) < time.Minute && ctx.Err() == nil; {
		good := 0
		for _, stream := range streams {
			info, err := s.info(ctx, stream)
			if err != nil || info.Cluster.Leader == "" {
				continue
			}
			current := 1
			for _, r := range info.Cluster.Replicas {
				if r.Current && !r.Offline {
					current++
				}
			}
			if current == len(s.all) {
				good++
			}
		}
		if good == len(streams) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}
