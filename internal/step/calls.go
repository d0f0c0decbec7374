package step

// Calls, in the order in which the points are reached.
const (
	CallTaken    Point = "call.taken"    // a slot is the client's; nothing is written
	CallWritten  Point = "call.written"  // the request is written; no server can take it
	CallAsked    Point = "call.asked"    // a server can take the call; it is not in the index
	CallMarked   Point = "call.marked"   // it is in the index; no server is woken yet
	CallBegun    Point = "call.begun"    // the call is a server's; it is still in the index
	CallClaimed  Point = "call.claimed"  // it is not in the index; the handler has not begun
	CallReplied  Point = "call.replied"  // the reply is written; it does not count yet
	CallDone     Point = "call.done"     // the reply counts; the client is not woken yet
	CallDropped  Point = "call.dropped"  // instead, after the client gave up: the slot is free
	CallRead     Point = "call.read"     // the client has read the reply
	CallFreed    Point = "call.freed"    // the slot is free; no waiting client is woken yet
	CallCanceled Point = "call.canceled" // the client has given up; its server is not woken yet
	CallRequeued Point = "call.requeued" // the call of a dead server is free for others; not marked
	CallSwept    Point = "call.swept"    // slots of dead processes are free; no process is woken
	CallJoined   Point = "call.joined"   // a server has its record; it has not looked for calls
)

// Call lists the points above.
var Call = []Point{
	CallTaken, CallWritten, CallAsked, CallMarked, CallBegun, CallClaimed, CallReplied, CallDone,
	CallDropped, CallRead, CallFreed, CallCanceled, CallRequeued, CallSwept, CallJoined,
}
