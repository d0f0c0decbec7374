// Package stream is what queues and topics have in common: how they are opened, how a call backs
// off between two tries, how it asks which peers are alive, and what its errors look like.
//
// A [Topic] is the topic itself, for items of any type: package topic sees them as values of a T,
// the command shmem and package inspect as bytes whose type the segment tells.
package stream
