package step

// Waiting and locks, each group in the order in which its points are reached.
const (
	WaitInterest Point = "wait.interest" // the interest is set, so wakers ring this attachment
	WaitArmed    Point = "wait.armed"    // the object is armed, so wakers know of the waiter
	WaitLead     Point = "wait.lead"     // this goroutine has become the leader of its mapping
	WaitSleep    Point = "wait.sleep"    // the slot says that the leader sleeps, before it does
	WaitWoken    Point = "wait.woken"    // the slot no longer says that the leader sleeps
	WaitLeave    Point = "wait.leave"    // the waiter is no longer registered
	WaitPassed   Point = "wait.passed"   // it was chosen and has failed, and another one is woken

	WakeArmed   Point = "wake.armed"   // the object has changed and is armed; none is rung
	WakePending Point = "wake.pending" // the object's bucket is pending in one attachment's slot
	WakeBell    Point = "wake.bell"    // the bell of that slot has changed
	WakeBaton   Point = "wake.baton"   // instead of pending: the slot has a baton for one waiter
	WakeRung    Point = "wake.rung"    // the sleeper of that slot has been woken
	WakeCarried Point = "wake.carried" // a baton for which no goroutine waits here: all are rung
	WakeAll     Point = "wake.all"     // every interested attachment is rung; still armed
	WakeDone    Point = "wake.done"    // the object is disarmed, unless a waiter has armed it again

	LockTaken    Point = "lock.taken"    // the free word has been taken at the first try
	LockWaiters  Point = "lock.waiters"  // the waiters bit of a held word is set
	LockSlow     Point = "lock.slow"     // the word has been taken at a later try
	LockOver     Point = "lock.over"     // the word has been taken over from a dead holder
	LockDead     Point = "lock.dead"     // a dead holder's word is DEAD; no waiter is woken yet
	LockDeadWake Point = "lock.deadwake" // the waiters for that word have been woken

	UnlockFree  Point = "unlock.free"  // the word, without waiters bit, is free
	UnlockBegin Point = "unlock.begin" // the word is still held, and its waiters bit was set
	UnlockFreed Point = "unlock.freed" // the word is free; no waiter is woken yet
	RecoverFail Point = "recover.fail" // the repair has failed, the word is DEAD; none is woken
	UnlockWoken Point = "unlock.woken" // the waiters for the word have been woken

	RecoverTaken Point = "recover.taken" // the dead holder's word is taken; no repair yet
	RecoverRan   Point = "recover.ran"   // the repair has succeeded; the word is still held

	RLockMark   Point = "rlock.mark"   // the reader's mark is set; the word is not checked yet
	RLockBack   Point = "rlock.back"   // a writer was there, and the mark has been removed
	RLockTaken  Point = "rlock.taken"  // the reader holds the lock
	RUnlockMark Point = "runlock.mark" // the mark has been removed; no waiter is woken yet
	WriteWord   Point = "write.word"   // the writer holds the word; there may still be readers
	WriteFlag   Point = "write.flag"   // the readers have been asked to wake the writer
	WriteTaken  Point = "write.taken"  // the writer holds the lock, and there is no reader

	SemLocked   Point = "sem.locked"   // the table of permits is locked
	SemSwept    Point = "sem.swept"    // the permits of one dead attachment are free
	SemReserved Point = "sem.reserved" // permits are reserved for a request; still locked
	SemTaken    Point = "sem.taken"    // permits are taken, or too few; still locked
	SemBack     Point = "sem.back"     // permits have been released; the table is still locked
	SemBackOut  Point = "sem.backout"  // the table is unlocked; no waiter is woken yet

	EventSet      Point = "event.set"      // the event is set; no waiter is woken yet
	EventPromised Point = "event.promised" // the promise is made; the waiters do not watch it yet
	CondOut       Point = "cond.out"       // Wait has unlocked the mutex and does not wait yet
	CondCount     Point = "cond.count"     // the signal is counted; no waiter is woken yet
	OnceIn        Point = "once.in"        // this attachment may run the function if it has not run
	OnceRan       Point = "once.ran"       // the function has succeeded; the run does not count yet
	OnceDone      Point = "once.done"      // the run counts; the lock is still held
)

// Psync lists the points above.
var Psync = []Point{
	WaitInterest, WaitArmed, WaitLead, WaitSleep, WaitWoken, WaitLeave, WaitPassed,
	WakeArmed, WakePending, WakeBell, WakeBaton, WakeRung, WakeCarried, WakeAll, WakeDone,
	LockTaken, LockWaiters, LockSlow, LockOver, LockDead, LockDeadWake,
	UnlockFree, UnlockBegin, UnlockFreed, RecoverFail, UnlockWoken, RecoverTaken, RecoverRan,
	RLockMark, RLockBack, RLockTaken, RUnlockMark, WriteWord, WriteFlag, WriteTaken,
	SemLocked, SemSwept, SemReserved, SemTaken, SemBack, SemBackOut,
	EventSet, EventPromised, CondOut, CondCount, OnceIn, OnceRan, OnceDone,
}
