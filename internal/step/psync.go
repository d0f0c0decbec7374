package step

// Waiting and locks, in the order in which the steps are reached.
const (
	WaitInterest Point = "wait.interest" // registered: wakers ring this attachment
	WaitArmed    Point = "wait.armed"    // and they know that somebody waits
	WaitLead     Point = "wait.lead"     // this goroutine leads
	WaitSleep    Point = "wait.sleep"    // it says that it sleeps, and is about to
	WaitWoken    Point = "wait.woken"    // it does not sleep any more
	WaitLeave    Point = "wait.leave"    // it is no longer registered

	WakeArmed   Point = "wake.armed"   // the word is changed; somebody waits
	WakePending Point = "wake.pending" // the bucket of one attachment is marked
	WakeBell    Point = "wake.bell"    // its bell has changed
	WakeRung    Point = "wake.rung"    // its sleeper is woken
	WakeAll     Point = "wake.all"     // everybody was rung; not cleared yet
	WakeDone    Point = "wake.done"

	LockTaken    Point = "lock.taken"    // by one compare-and-swap
	LockWaiters  Point = "lock.waiters"  // the waiters bit is set
	LockSlow     Point = "lock.slow"     // taken after waiting
	LockDead     Point = "lock.dead"     // the dead holder's word says DEAD; nobody is woken yet
	LockOver     Point = "lock.over"     // taken over from a dead holder
	LockDeadWake Point = "lock.deadwake" // all are woken

	UnlockBegin  Point = "unlock.begin" // still held, somebody waits
	UnlockFree   Point = "unlock.free"  // free; nobody waited
	UnlockFreed  Point = "unlock.freed" // free, and nobody is woken yet
	UnlockWoken  Point = "unlock.woken"
	RecoverTaken Point = "recover.taken" // the lock is held again, the repair has not run
	RecoverRan   Point = "recover.ran"   // the repair has run, the lock is still held
	RecoverFail  Point = "recover.fail"  // the repair failed, DEAD again, nobody is woken yet

	RLockMark   Point = "rlock.mark"   // the reader's mark stands, the writer's word was not looked at
	RLockBack   Point = "rlock.back"   // it stood while there was a writer: taken back
	RLockTaken  Point = "rlock.taken"  // it reads
	RUnlockMark Point = "runlock.mark" // the mark is gone, nobody is woken yet
	WriteWord   Point = "write.word"   // the writer's word is held, readers may be inside
	WriteFlag   Point = "write.flag"   // readers are asked to wake the writer
	WriteTaken  Point = "write.taken"  // no reader is inside

	SemLocked  Point = "sem.locked"  // the table is locked
	SemTaken   Point = "sem.taken"   // permits taken, the table still locked
	SemBack    Point = "sem.back"    // permits given back, the table still locked
	SemBackOut Point = "sem.backout" // the table is free, nobody is woken yet
	SemSwept   Point = "sem.swept"   // the permits of one dead attachment are free

	EventSet  Point = "event.set"  // set, nobody is woken yet
	CondCount Point = "cond.count" // counted, nobody is woken yet
	CondOut   Point = "cond.out"   // Wait has freed the lock
	OnceIn    Point = "once.in"    // it is ours to run
	OnceRan   Point = "once.ran"   // the function has run, it does not count yet
	OnceDone  Point = "once.done"  // it counts, the lock is still held
)

// Psync lists the steps above.
var Psync = []Point{
	WaitInterest, WaitArmed, WaitLead, WaitSleep, WaitWoken, WaitLeave,
	WakeArmed, WakePending, WakeBell, WakeRung, WakeAll, WakeDone,
	LockTaken, LockWaiters, LockSlow, LockDead, LockOver, LockDeadWake,
	UnlockBegin, UnlockFree, UnlockFreed, UnlockWoken, RecoverTaken, RecoverRan, RecoverFail,
	RLockMark, RLockBack, RLockTaken, RUnlockMark, WriteWord, WriteFlag, WriteTaken,
	SemLocked, SemTaken, SemBack, SemBackOut, SemSwept,
	EventSet, CondCount, CondOut, OnceIn, OnceRan, OnceDone,
}
