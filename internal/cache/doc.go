// Package cache is the cache of package kv on plain words of memory: entries of any length in a
// fixed amount of it. It is pure: it maps nothing, and neither locks nor waits.
//
// Each shard has a log of entries and an index. Entries are appended to the log, whose end begins
// at its start again and overwrites the oldest ones. A position in the log counts laps as well:
// lap * distance + word, so no two entries ever have the same one. An entry lies within one lap.
//
// The index is a hash table of words, each with a position, in buckets of 8. A key can be in two
// buckets. Where both are full, the oldest of their entries is removed.
//
// # Changes
//
// The holder of the shard's lock stores an entry so:
//
//  1. Make room: remove the link of the oldest entry (step.CacheEvicted), then add its words to Low
//     (step.CachePassed), until what is to be written lies below Low, a lap earlier. An entry that
//     was read since it was written is not removed: it is appended once more (step.CacheMoved).
//  2. Write the entry behind Tail (step.CacheFilled).
//  3. Add its words to Tail (step.CacheAppended).
//  4. Store its link, in place of that of the older entry of the key (step.CacheLinked). It counts.
//
// A process that dies leaves nothing that must be undone. Before step 4 there is no link, and the
// words are free, or an entry without a link. Only the counters have to be counted again
// (step.CacheRepaired).
//
// # Reads
//
// A reader loads a link, compares the key, copies the value, and then loads Low and Tail: if the
// position is between them, nothing of the entry was overwritten before. Else it looks at the link
// again. A link that has not changed leads to an entry that was removed; one that has changed, to
// an entry that is newer. So a reader waits for no other process.
//
// What a reader finds is in shared memory, and untrusted: every length is checked with what was
// loaded, and used as it was loaded.
package cache
