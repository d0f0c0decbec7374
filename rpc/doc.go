// Package rpc makes calls between processes of a machine through shared memory.
//
// A server process serves a function of a request and a reply:
//
//	err := rpc.Serve(ctx, "squares", func(ctx context.Context, q *Query, r *Reply) error {
//		r.Square = q.N * q.N
//		return nil
//	}, nil)
//
// A client process calls it:
//
//	squares, err := rpc.Dial[Query, Reply](ctx, "squares", nil)
//	if err != nil {
//		return err
//	}
//	defer squares.Close()
//	var r Reply
//	err = squares.Call(ctx, &Query{N: 7}, &r)
//
// Any number of processes may serve and call. Requests and replies are types that a box can have,
// without atomics and locks.
//
// # Deaths
//
// A call is begun by one server. If that server dies, the call returns [ErrServerDied]: its handler
// may have run or not. Where [DialOptions].Idempotent declares that the handler may run twice, the
// call goes to another server instead. A call that no server has begun waits for one, or returns
// [ErrNoServer] when none is alive. A reply that comes after its client has given up is dropped: it
// never reaches another call.
//
// # Waiting
//
// A call waits while the service has as many calls as it has room for, then for a server, and then
// for the reply, until its context is done. The context of the handler is canceled then.
package rpc
