// Package blob passes large payloads by reference. A [Pool] has buffers in shared memory. A process
// takes a [Buffer], fills it, and puts its [Handle], which has 32 bytes, into any message: an item
// of a queue, a call, a request over an ordinary socket. The other process resolves the handle, and
// reads the bytes where they are.
//
//	pool, err := blob.Open("images", nil)
//	if err != nil {
//		return err
//	}
//	defer pool.Close()
//	b, err := pool.Take(ctx, len(image))
//	if err != nil {
//		return err
//	}
//	defer b.Close()
//	if _, err := b.WriteAt(image, 0); err != nil {
//		return err
//	}
//	h, err := b.HandOver(0) // send h
//
// and in the other process
//
//	b, err := pool.Resolve(h)
//	if err != nil {
//		return err
//	}
//	defer b.Close()
//	err = b.View(func(image []byte) error { return decode(image) })
//
// # Who holds a buffer
//
// Each Buffer is a share. A buffer is free again when it has no share left. There are two ways to
// pass it on:
//
//   - [Buffer.Handle] returns a handle while the caller keeps its share. Any number of processes
//     can resolve it, as long as the buffer has a share. This is the way where the caller knows
//     when the others have it: in a call, until the reply is there; in a topic, until the message
//     is old.
//   - [Buffer.HandOver] gives the share to the handle. It can be resolved once, by one process,
//     within a time. This is the way where the caller does not learn what becomes of the message.
//
// # Deaths
//
// The share of a process that dies, or that closes the pool, is removed by another process when it
// finds no free buffer, or by [Pool.Sweep]:
//
//   - A process dies that has a Buffer: its share is removed. If there is no other share, the
//     handles of the buffer are ErrStale from then on.
//   - A process dies that has handed a buffer over: nothing is lost. The receiver has the time that
//     was given to HandOver.
//   - The receiver dies before it resolves, or the message is lost: the buffer is lost until this
//     time is over, and is free then.
//   - The receiver dies after it has resolved: its share is removed. If the message is redelivered,
//     as by a queue, the handle in it is stale: use Handle for such messages.
//
// # What is checked
//
// A handle comes from another process and is not trusted. It is checked against the pool, and is
// ErrOtherPool, ErrStale or the bytes that it stands for, never others. A Buffer that was closed or
// handed over returns shmem.ErrClosed. A slice that a callback gets must not be used after the
// callback; ReadAt, Append and WriteAt copy, and have no such rule.
//
// All processes of a pool can write all of its memory. Only what they do through this package is
// checked.
package blob
