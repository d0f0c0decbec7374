package step

// Waiting and locks, each group in the order in which its points are reached.
const (
	WaitInterest Point = "wait.interest" // the slot's interest is set, so wakers ring this attachment
	WaitArmed    Point = "wait.armed"    // the armed word is set, so wakers know that there is a waiter
	WaitLead     Point = "wait.lead"     // this goroutine has become the leader of its mapping
	WaitSleep    Point = "wait.sleep"    // the slot says that the leader sleeps; it has not slept yet
	WaitWoken    Point = "wait.woken"    // the slot no longer says that the leader sleeps
	WaitLeave    Point = "wait.leave"    // the waiter is no longer registered

	WakeArmed   Point = "wake.armed"   // the object has changed and is armed; no waiter has been rung
	WakePending Point = "wake.pending" // the object's bucket is pending in one attachment's slot
	WakeBell    Point = "wake.bell"    // the bell of that slot has changed
	WakeRung    Point = "wake.rung"    // the sleeper of that slot has been woken
	WakeAll     Point = "wake.all"     // every interested attachment has been rung; the object is still armed
	WakeDone    Point = "wake.done"    // the object is disarmed, unless a waiter has armed it again

	LockTaken    Point = "lock.taken"    // the free word has been taken at the first try
	LockWaiters  Point = "lock.waiters"  // the waiters bit of a held word is set
	LockSlow     Point = "lock.slow"     // the word has been taken at a later try
	LockOver     Point = "lock.over"     // the word has been taken over from a dead holder
	LockDead     Point = "lock.dead"     // a dead holder's word is DEAD; no waiter has been woken
	LockDeadWake Point = "lock.deadwake" // the waiters for that word have been woken

	UnlockFree  Point = "unlock.free"  // the word, without waiters bit, is free
	UnlockBegin Point = "unlock.begin" // the word is still held, and its waiters bit was set
	UnlockFreed Point = "unlock.freed" // the word is free; no waiter has been woken
	RecoverFail Point = "recover.fail" // the repair has failed and the word is DEAD; no waiter has been woken
	UnlockWoken Point = "unlock.woken" // the waiters for the word have been woken

	RecoverTaken Point = "recover.taken" // the dead holder's word has been taken; the repair has not started
	RecoverRan   Point = "recover.ran"   // the repair has succeeded; the word is still held

	RLockMark   Point = "rlock.mark"   // the reader's mark is set; the writer's word has not been checked since
	RLockBack   Point = "rlock.back"   // a writer was there, and the mark has been removed
	RLockTaken  Point = "rlock.taken"  // the reader holds the lock
	RUnlockMark Point = "runlock.mark" // the mark has been removed; no waiter has been woken
	WriteWord   Point = "write.word"   // the writer holds the word; there may still be readers
	WriteFlag   Point = "write.flag"   // the readers have been asked to wake the writer
	WriteTaken  Point = "write.taken"  // the writer holds the lock, and there is no reader

	SemLocked  Point = "sem.locked"  // the table of permits is locked
	SemSwept   Point = "sem.swept"   // the permits of one dead attachment are free
	SemTaken   Point = "sem.taken"   // permits have been taken, or were too few; the table is still locked
	SemBack    Point = "sem.back"    // permits have been released; the table is still locked
	SemBackOut Point = "sem.backout" // the table is unlocked; no waiter has been woken

	EventSet  Point = "event.set"  // the event is set; no waiter has been woken
	CondOut   Point = "cond.out"   // Wait has unlocked the mutex and has not started to wait
	CondCount Point = "cond.count" // the signal has been counted; no waiter has been woken
	OnceIn    Point = "once.in"    // this attachment may run the function, if none has run it
	OnceRan   Point = "once.ran"   // the function has succeeded; the run does not count yet
	OnceDone  Point = "once.done"  // the run counts; the lock is still held
)

// Psync lists the points above.
var Psync = []Point{
	WaitInterest, WaitArmed, WaitLead, WaitSleep, WaitWoken, WaitLeave,
	WakeArmed, WakePending, WakeBell, WakeRung, WakeAll, WakeDone,
	LockTaken, LockWaiters, LockSlow, LockOver, LockDead, LockDeadWake,
	UnlockFree, UnlockBegin, UnlockFreed, RecoverFail, UnlockWoken, RecoverTaken, RecoverRan,
	RLockMark, RLockBack, RLockTaken, RUnlockMark, WriteWord, WriteFlag, WriteTaken,
	SemLocked, SemSwept, SemTaken, SemBack, SemBackOut,
	EventSet, CondOut, CondCount, OnceIn, OnceRan, OnceDone,
}
