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
// # In place
//
// As it is, each message that is received is memory of the program, and can be kept. With
// [Options.InPlace] the handlers of a server get requests whose large fields of bytes are memory of
// the pool. With [Transport.Lend] a client gets such replies. [Bytes] returns memory of the pool
// for a field that is to be sent: it is filled once, and neither side copies it.
//
//	ctx, release := t.Lend(ctx)
//	defer release() // reply.Data is used until here
//	q := &pb.Frame{Data: blobgrpc.Bytes(ctx, n)}
//	fill(q.Data)
//	reply, err := client.Process(ctx, q)
//
//	func (s *server) Process(ctx context.Context, q *pb.Frame) (*pb.Frame, error) {
//		r := &pb.Frame{Data: blobgrpc.Bytes(ctx, len(q.Data))}
//		return r, process(r.Data, q.Data) // q.Data is used until the reply was sent
//	}
//
// A handler can also return a field of its request, or a part of it: that is not copied either.
//
//   - The memory is that of other processes too. A receiver must not write to it. A sender must not
//     change what it has sent.
//   - It stays mapped, and its buffer is used for nothing else, until the loan ends. Pool.Close of
//     package blob waits for that.
//   - A slice that is kept beyond the end is a fault of the program. While the pool is open it has
//     the bytes of later messages, and to send it is an error. When the pool is closed, an access
//     to it ends the program with a segmentation fault. Copy what is kept.
//   - Fields in lists and maps, extensions, and strings are copied as ever.
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
