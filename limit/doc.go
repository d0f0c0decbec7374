// Package limit provides rate limits that processes share, with the words of
// golang.org/x/time/rate. The state is a [Bucket], a field of the value of a box; each process
// makes a [Limiter] over it, and all draw from the same tokens.
//
//	type State struct {
//		Requests limit.Bucket
//	}
//
//	l := limit.New(&box.Value().Requests, 100, 20) // 100 a second, 20 at once
//	if !l.Allow() {
//		return errTooManyRequests
//	}
//
// A bucket whose bytes are all zero is full, so there is nothing to prepare. A decision is one
// compare-and-swap, and no call waits for another process. There is nothing to repair after a
// death: a process that dies in a call has taken its tokens or has not, and tokens that it has
// taken come again with time. The same is true of the reservations of a process that dies in Wait.
//
// The rate and the burst belong to the Limiter, not to the bucket: all processes are expected to
// pass the same ones, as they have the same code. A process that has read a new configuration makes
// a new Limiter over the same bucket.
//
// Tokens come by the machine's monotonic clock, which is the same in all its processes. Setting the
// date changes nothing. On Linux no tokens come while the machine is suspended. A bucket in a file
// that has survived a restart of the machine is full.
//
// The algorithm is GCRA, the virtual scheduling of ITU-T I.371: the bucket stores the time at which
// it will be full.
package limit
