// Package pool counts who holds which buffer of package blob, on plain words of memory. It neither
// maps memory nor waits. It takes no lock.
//
// A buffer has a state: a word with a bit that says whether the buffer is taken, a generation that
// grows with every Take, and a version. It also has some shares. A share is a word: 0, or the id of
// the attachment that holds the buffer and how many times it does, or a share in flight. A buffer
// in flight is in a message that no process has resolved. Its share is a ticket and a deadline.
//
// A buffer is free when no share is left. What counts is the shares themselves: nothing is counted
// beside them that a death could leave wrong. So a share is written before the state is asked, and
// the state is changed after the shares were looked at:
//
// Take:
//
//  1. Write a share into a buffer that is free (step.BlobClaimed).
//  2. Change the state from free to taken, with the next generation (step.BlobTaken). If another
//     process was first, remove the share again.
//
// Join, for a handle of a buffer that others hold:
//
//  1. Load the state. It must be taken, with the generation of the handle.
//  2. Write a share (step.BlobJoining).
//  3. Increase the version (step.BlobJoined). If the buffer was freed meanwhile, remove the share.
//
// Leave:
//
//  1. Remove the share (step.BlobLeft).
//  2. Load the state, then look at all shares. If none is left, change the state to free
//     (step.BlobFreed). This fails if the version was increased meanwhile, and begins anew.
//
// HandOver turns a share into one in flight (step.BlobSent). Where this attachment holds the buffer
// several times, HandOver adds a share as Join does, and leaves its own. Accept turns a share in
// flight into one of the caller by a compare-and-swap (step.BlobAccepted).
//
// A share that was added counts only when the version was increased after it: a process that looks
// for shares may have passed its place before. What replaces a share at its place counts at once.
//
// Sweep removes shares of dead attachments, and those in flight whose deadline has passed
// (step.BlobSwept). It frees what has no share, as in Leave. So a process that dies between two
// steps leaves nothing behind.
//
// Everything is ready to use when all its bytes are zero.
package pool
