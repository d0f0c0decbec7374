// Package calls is the table of calls of package rpc, on plain words of memory: who has which slot,
// and what is repaired after a death. It neither maps memory nor waits. It takes no lock.
//
// A slot has one call at a time. One word of it says how far the call is, and changes by
// compare-and-swap only. It holds a state, a generation, and the id of the process that goes on:
//
//	free      no call
//	taken     the client writes the request
//	asked     a server may take the call
//	begun     the server runs the handler
//	canceled  as begun, but the client has given up: the server frees the slot
//	done      the client reads the reply, and frees the slot
//
// The generation is another one for each call of the slot. So what is known of one call never
// changes the next one.
//
// A call takes these steps; a process may be killed at each of them:
//
//  1. The client takes a free slot (step.CallTaken).
//  2. It writes the request, and its own id (step.CallWritten).
//  3. It lets servers take the call (step.CallAsked).
//  4. It sets the slot's bit in the index of calls that wait for a server (step.CallMarked), and
//     wakes a server.
//  5. A server takes the call (step.CallBegun).
//  6. It clears the bit (step.CallClaimed), and runs the handler.
//  7. It has written the reply (step.CallReplied).
//  8. It hands the slot back to the client (step.CallDone), and wakes the client.
//  9. The client has read the reply (step.CallRead), and frees the slot (step.CallFreed).
//
// A client gives up before step 5 by freeing the slot, later by step.CallCanceled. Then the server
// frees the slot after the handler (step.CallDropped).
//
// The bits of the index are hints. A server that finds a bit without a call clears the bit, and
// looks at the slot again. A process that dies between may leave a call without its bit. The client
// sets it again, when it looks after its call while it waits.
//
// Nothing has to be repaired before another process can go on. Sweep frees what dead clients have,
// and tells servers of calls whose client died. The call of a dead server is the client's: it gives
// the call to another server (step.CallRequeued), or frees the slot.
//
// Everything is ready to use when all its bytes are zero.
package calls
