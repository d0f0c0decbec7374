// Package inspect sees into segments of shared memory without knowing their Go types: live ones, and
// those of programs that have crashed. It is what the command shmem is made of.
//
// Every segment carries the schema of its value: names, kinds and places of all fields. [Open] opens a
// segment as an observer, which takes no lock and no slot, so that looking at a segment never keeps it
// alive and never changes what becomes of it:
//
//	s, err := inspect.Open("config", nil)
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	snap, err := s.Snapshot()
//	if err != nil {
//		return err
//	}
//	v, err := snap.Value().At("Routes[3].Name")
//	if err != nil {
//		return err
//	}
//	fmt.Println(v)           // "default"
//	json.Marshal(v)          // as encoding/json does it for the Go value
//
// A [Snapshot] is the value as it was at one moment, as Box.Load has it: neither a writer in the
// middle of Update nor one that died there can make it a mixture of two values. [Diff] tells two of
// them apart, field by field. [Segment.Status] says what else there is to know: who is attached, who
// holds which lock, who waits, and what would happen if the owner died.
//
// [Set] is the one function here that changes a value: under the box's lock, checked against the
// schema, as an attachment that leaves the duty of the last one to others.
//
// What is read is never trusted. A damaged segment gives errors that are shmem.ErrCorrupt.
package inspect
