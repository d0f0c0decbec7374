package step

// View, Update and Store of a box, in the order in which the points are reached. The sequence
// counter is even while the payload counts and odd while the undo image counts.
const (
	UpdateLocked Point = "update.locked" // the lock is held; nothing has been written
	UpdateWord   Point = "update.word"   // one more word of the image has been written
	UpdateImage  Point = "update.image"  // the image is a complete copy of the payload
	UpdateOdd    Point = "update.odd"    // the counter is odd; the function has not started
	UpdateRan    Point = "update.ran"    // the function has returned; the image still counts
	UpdateEven   Point = "update.even"   // the counter is even; no waiter is woken yet
	UpdateWoken  Point = "update.woken"  // the waiters have been woken; the lock is still held
	UpdateUndone Point = "update.undone" // after an error the payload is restored; the image counts

	StoreImage Point = "store.image" // the new value has been written to the image
	StoreOdd   Point = "store.odd"   // the counter is odd, so the new value counts
	StoreWord  Point = "store.word"  // one more word of the payload has been written
	StoreCopy  Point = "store.copy"  // the payload is complete; the image still counts

	RestoreWord Point = "restore.word" // recovery has restored one more word of the payload
	RestoreCopy Point = "restore.copy" // recovery has restored the payload; the image still counts
	RestoreEven Point = "restore.even" // the counter is even; no waiter is woken yet
)

// Access lists the points above.
var Access = []Point{
	UpdateLocked, UpdateWord, UpdateImage, UpdateOdd, UpdateRan, UpdateEven, UpdateWoken,
	UpdateUndone,
	StoreImage, StoreOdd, StoreWord, StoreCopy,
	RestoreWord, RestoreCopy, RestoreEven,
}
