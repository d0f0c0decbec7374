// Package embedded runs a NATS server with JetStream in this process. Only programs that ask for it
// import the server.
package embedded

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A Server is a server that runs.
type Server struct{ s *server.Server }

// Start starts a server on the loopback interface, whose streams are in the directory store. Port
// -1 is any.
func Start(store string, port int) (*Server, error) {
	return Run(&server.Options{Port: port, StoreDir: store})
}

// Join starts a server of a cluster on the loopback interface: the i-th, which clients reach at
// ports[i] and the others at links[i]. The server is named s and its number.
func Join(store string, i int, ports, links []int) (*Server, error) {
	var routes []string
	for _, port := range links {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	return Run(&server.Options{
		ServerName: fmt.Sprintf("s%d", i), Port: ports[i], StoreDir: store,
		Cluster: server.ClusterOpts{
			Name: "cluster", Host: "127.0.0.1", Port: links[i], NoAdvertise: true,
		},
		Routes: server.RoutesFromStr(strings.Join(routes, ",")),
	})
}

// Run starts a server of such options on the loopback interface, with JetStream. It waits until
// clients can connect.
func Run(o *server.Options) (*Server, error) {
	o.Host, o.JetStream, o.NoSigs, o.NoLog = "127.0.0.1", true, true, true
	s, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		s.Shutdown()
		return nil, errors.New("the server does not answer")
	}
	return &Server{s}, nil
}

// URL returns where clients connect.
func (s *Server) URL() string { return s.s.ClientURL() }

// Close ends the server.
func (s *Server) Close() {
	s.s.Shutdown()
	s.s.WaitForShutdown()
}
