// Package embedded runs a NATS server with JetStream in this process. Only programs that ask for it
// import the server.
package embedded

import (
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A Server is a server that runs.
type Server struct{ s *server.Server }

// Start starts a server on the loopback interface, whose streams are in the directory store. Port
// -1 is any.
func Start(store string, port int) (*Server, error) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: store, NoSigs: true, NoLog: true,
	})
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
