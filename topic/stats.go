package topic

// Stats are the state of a topic at one moment. Messages count from its creation, over all
// processes.
type Stats struct {
	Capacity  int    // messages kept
	Bytes     int    // of a Bytes: how many their bytes can be
	Published uint64 // published, being published or skipped: the next sequence number
	Skipped   uint64 // not published because the publisher died; not those that a function gave up
	Released  uint64 // holds released because the subscriber died
	Lost      uint64 // overwritten before they were received, over all subscriptions that can write
	Holds     int    // subscriptions that hold publishers back now
	MaxHolds  int    // how many of them there can be
	Lag       uint64 // how many messages the slowest of them is behind
	Slowest   int    // the slot of that one, see shmem.Peer; -1: there is none
	Ended     bool   // by End
}
