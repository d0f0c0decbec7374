// Package table is the hash table of package kv, on plain words of memory: where entries are, how
// they change, and what is repaired after a death. It neither maps memory nor waits.
//
// Entries lie in cells. A bucket is a chain of cells. The buckets are divided among stripes, and a
// caller changes a bucket only while it holds the lock of its stripe, which package kv provides. A
// reader takes no lock.
//
// A stripe has a spare cell, which no chain contains. A change writes the new entry into the spare
// cell, and puts it into the chain by one store, which is the moment at which the change counts.
// The cell that it replaces is the next spare one. So no reader sees an entry that is being
// written, and a writer that is stopped or dead holds no reader up.
//
// A change takes these steps; a process may be killed at each of them:
//
//  1. The stripe's intent names a cell (step.MapIntent): the one to be replaced or removed, or a
//     free one that replaces the spare cell of an insertion.
//  2. An insertion takes the free cell (step.MapTaken).
//  3. The new entry is written into the spare cell (step.MapFilled).
//  4. The link to the old cell leads to the new one (step.MapLinked). A removal links past it.
//  5. The stripe's version grows (step.MapVersion).
//  6. The cell that was named is the spare one (step.MapSpare), or free (step.MapFreed).
//  7. The intent is cleared (step.MapDone).
//
// If the process dies the next holder of the lock calls Repair. Before step 4 the change is undone;
// after it the rest is done. Whether step 4 was reached is seen from the chain.
//
// A reader first looks at the cell that the bucket leads to: it loads the link, the cell's
// generation, and the link again. If the link is the same, the entry counted then and was whole. So
// what the reader loads from now on is of that entry, if the generation is the same at the end.
//
// If the key is not that of the entry the reader loads the version, follows the chain, and loads
// the version again. If it is the same, at most one change was made meanwhile, since every change
// is followed by another version before the next one, also after a death. A cell is written only
// after the version that follows its removal, so the chain that the reader has followed was whole.
// It then copies the value, and checks that the cell's generation is what it was: a cell gets
// another one before it is written again.
//
// Everything is ready to use when all its bytes are zero.
package table
