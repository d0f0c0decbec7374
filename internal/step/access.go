package step

// View, Update and Store of a box, in the order in which the steps are reached.
const (
	UpdateLocked Point = "update.locked" // the lock is held, nothing is written
	UpdateWord   Point = "update.word"   // one more word of the image is written
	UpdateImage  Point = "update.image"  // the image is complete
	UpdateOdd    Point = "update.odd"    // the image counts
	UpdateRan    Point = "update.ran"    // the function has run
	UpdateEven   Point = "update.even"   // the payload counts again, nobody is woken yet
	UpdateWoken  Point = "update.woken"  // the lock is still held
	UpdateUndone Point = "update.undone" // after an error: the payload is as it was, the image still counts

	StoreImage Point = "store.image" // the new value is in the image
	StoreOdd   Point = "store.odd"   // and counts
	StoreWord  Point = "store.word"  // one more word of the payload is written
	StoreCopy  Point = "store.copy"  // the payload is complete

	RestoreWord Point = "restore.word" // recovery: one more word of the payload is restored
	RestoreCopy Point = "restore.copy" // the payload is whole, the image still counts
	RestoreEven Point = "restore.even" // the payload counts again
)

// Access lists the steps above.
var Access = []Point{
	UpdateLocked, UpdateWord, UpdateImage, UpdateOdd, UpdateRan, UpdateEven, UpdateWoken, UpdateUndone,
	StoreImage, StoreOdd, StoreWord, StoreCopy,
	RestoreWord, RestoreCopy, RestoreEven,
}
