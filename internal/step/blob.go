package step

// Pools of buffers, in the order in which the points are reached.
const (
	BlobClaimed  Point = "blob.claimed"  // a share of a free buffer is written; it is not taken yet
	BlobTaken    Point = "blob.taken"    // the buffer is taken; its length is not written
	BlobJoining  Point = "blob.joining"  // a share of a taken buffer is written; it does not count
	BlobJoined   Point = "blob.joined"   // it counts
	BlobSent     Point = "blob.sent"     // a share is in flight; the handle is not returned yet
	BlobAccepted Point = "blob.accepted" // a share in flight is the receiver's
	BlobLeft     Point = "blob.left"     // a share is removed; the buffer may be taken without one
	BlobFreed    Point = "blob.freed"    // the buffer is free; no waiter is woken yet
	BlobSwept    Point = "blob.swept"    // a share of a dead process is removed
)

// Blob lists the points above.
var Blob = []Point{
	BlobClaimed, BlobTaken, BlobJoining, BlobJoined, BlobSent, BlobAccepted, BlobLeft, BlobFreed,
	BlobSwept,
}
