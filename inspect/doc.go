// Package inspect looks into segments of shared memory without knowing their Go types: live ones,
// and those of programs that have crashed. The command shmem is made of it.
//
// Every segment carries the schema of its value: names, kinds and offsets of all fields. [Open]
// returns an [Observer], which takes no lock and no slot. So an observer never keeps a segment
// alive, never makes a writer wait, and changes nothing:
//
//	o, err := inspect.Open("", "config") // "": in the default directory
//	if err != nil {
//		return err
//	}
//	defer o.Close()
//	snap, err := o.Snapshot()
//	if err != nil {
//		return err
//	}
//	v, err := snap.Value().At("Routes[3].Name")
//	if err != nil {
//		return err
//	}
//	fmt.Println(v)    // "default"
//	json.Marshal(v)   // as encoding/json does it for the Go value
//
// A [Snapshot] is the value as it was at one moment, as Box.Load returns it. A writer in the middle
// of an Update, or one that died there, cannot make it a mixture of two values. [Diff] compares two
// snapshots field by field.
//
// [Observer.Status] returns everything else: which processes are attached, which hold or wait for a
// lock, and what becomes of the segment if its owner dies. For queues and topics there are
// [Observer.Stats], [Observer.Messages] and [Observer.Follow].
//
// [Set] is the only function here that changes a value: under the box's lock, and checked against
// the schema.
//
// # Errors
//
// Every error is a *shmem.Error with the operation ("inspect open") and the name of the segment,
// except a bare io.EOF and the errors of functions on a Value or a Type, which know no segment. No
// byte of a segment is trusted: a damaged one gives errors that are shmem.ErrCorrupt, never a panic
// or a fault.
package inspect
