// Package blobgrpc lets the large messages of gRPC travel through a pool of package blob, between
// processes of one machine. The messages, the services and the generated code stay as they are.
//
//	pool, err := blob.Open("messages", nil) // in both processes
//	t := blobgrpc.New(pool, nil)
//	defer t.Close()
//
//	server := grpc.NewServer(t.ServerOptions()...)
//	conn, err := grpc.NewClient("unix:///run/app.sock", append(t.DialOptions(), creds)...)
//
// A message of [Options.Threshold] bytes or more is written into a buffer of the pool, and 33 bytes
// go over the connection. Smaller ones go over the connection as ever, and so do large ones when no
// buffer is free, or when none is large enough. All kinds of calls are supported.
//
// # Agreeing
//
// Each call of a client carries the number of its pool in its metadata, and a server that has the
// same one says so in the header of its reply. Only then, and from the next call on, the client
// uses the pool. So either side can be without this package, or have another pool, as after a
// restart. A unary call that a server could not read is made again without the pool: its handler
// has not run. A stream that is open at a restart ends with an error, as it does without this
// package.
//
// # Deaths
//
// The client holds the message of a unary call until the call is over: if it dies the buffer is
// free at once. A reply, and each message of a stream, is handed over: if the other process dies
// before it has read it, the buffer is free when [Options.Lease] has passed. See package blob.
//
// # Order of interceptors
//
// Other interceptors see messages of type *Message in place of large ones, unless they are further
// from the wire: the options of a client are given after those of other interceptors, and those of
// a server before them.
package blobgrpc
