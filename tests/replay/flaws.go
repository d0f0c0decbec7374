package replay

import (
	"slices"

	"github.com/shmembox/shmem/tests/flaws"
)

// A Planted is a flaw, and the scenarios that must find it, as a regular expression.
type Planted struct {
	flaws.Flaw
	Scenarios string
}

// Flaws are all flaws that the simulator must find: those below, and those of the lifecycle that the
// chaos program finds as well.
func Flaws() []Planted {
	all := slices.Concat(waiting, ones, locks, access, rings, unlinked)
	for _, f := range flaws.Lifecycle {
		scenarios := "^(lifecycle|own|remove|reclaim)"
		switch f.Name {
		case "by-pid":
			continue // it asks the real kernel
		case "same-gen":
			scenarios = "^mutex-reuse$" // the holder of a lock must be told from the next tenant
		}
		all = append(all, Planted{f, scenarios})
	}
	return all
}

// one is a flaw of one edit.
func one(name, scenarios, file, old, changed, breaks string) Planted {
	return Planted{flaws.Flaw{Name: name, Breaks: breaks, Edits: []flaws.Edit{{File: file, Old: old, New: changed}}}, scenarios}
}

// quietly is a flaw of one edit, in a library where what is told of a death does not ring all others.
// There each part must do its own, which the ringing covers else.
func quietly(name, scenarios, file, old, changed, breaks string) Planted {
	p := one(name, scenarios, file, old, changed, breaks)
	p.Edits = append(p.Edits, flaws.Edit{
		File: watchFile,
		Old:  "\t\tif l.retireBaton(id) {\n\t\t\tRingAll(l.m)\n\t\t}\n",
		New:  "\t\tl.retireBaton(id)\n",
	})
	return p
}

const (
	waitFile     = "internal/wait/wait.go"
	parkingFile  = "internal/wait/parking.go"
	doorbellFile = "internal/wait/doorbell.go"
	sentryFile   = "internal/wait/sentry.go"
	groupFile    = "internal/wait/group.go"
	oneFile      = "internal/wait/one.go"
	watchFile    = "internal/wait/watch.go"
	lockFile     = "internal/robust/lock.go"
	sharedFile   = "internal/robust/shared.go"
	peersFile    = "internal/mem/peers.go"
	valueFile    = "internal/value/value.go"
)

// unlinked are flaws of what those who stay are told when the name is taken.
var unlinked = []Planted{
	one("unlinked-not-rung", "^unlinked$", "internal/segment/told.go",
		"\tw.Events.Add(1)\n\twait.RingAll(m)\n", "\tw.Events.Add(1)\n\t_ = wait.RingAll\n",
		"A process that takes the name wakes those who wait."),
	one("unlinked-not-closed", "^unlinked$", "internal/segment/told.go",
		"\t\t\t\tw.CompareAndSwap(0, ring.Unlinked)\n", "\t\t\t\t_ = w\n",
		"A process that takes the name closes the ring."),
	one("unlinked-not-looked", "^unlinked-kill", "internal/stream/unlinked.go",
		"\tif closed.Load() != 0 || !a.at.Nameless() {\n", "\tif closed.Load() != 0 || a.at != nil {\n",
		"Those who wait look whether the file has a name."),
}

// waiting are flaws of internal/wait.
var waiting = []Planted{
	one("armed-cleared-early", "^(mutex|event)", waitFile,
		"\tringSlots(m, 1<<layout.Bucket(uintptr(mem.Offset(m, armed))))\n", "\tarmed.CompareAndSwap(g, g&^1)\n\tringSlots(m, 1<<layout.Bucket(uintptr(mem.Offset(m, armed))))\n",
		"A waker that dies before it rings leaves the object armed."),
	one("armed-cleared-blindly", "^(mutex|rwmutex|semaphore)", waitFile,
		"\tstep.Reach(step.WakeAll)\n\tarmed.CompareAndSwap(g, g&^1)\n", "\tstep.Reach(step.WakeAll)\n\tarmed.And(^uint32(1))\n",
		"A slow waker does not clear what was armed after it rang."),
	one("no-check-after-arming", "^(mutex|event)", parkingFile,
		"\tstep.Reach(step.WaitArmed)\n\tif l.readyOrWatched(w) {\n\t\treturn nil\n\t}\n", "\tstep.Reach(step.WaitArmed)\n",
		"A waiter checks its condition between arming and sleeping."),
	one("no-check-after-rearming", "^(semaphore|queue|mutex)", parkingFile,
		"\tarm(w.armed)\n\tif l.readyOrWatched(w) {\n\t\treturn true\n\t}\n", "\tarm(w.armed)\n",
		"A waiter that was rung for nothing checks again after arming."),
	one("no-rearming", "^(semaphore|queue|topic|rwmutex)", parkingFile,
		"\tarm(w.armed)\n\tif l.readyOrWatched(w) {\n\t\treturn true\n\t}\n", "\tif l.readyOrWatched(w) {\n\t\treturn true\n\t}\n",
		"A waiter that was rung for nothing arms the object again."),
	one("bell-read-late", "^(mutex|event|queue)", parkingFile,
		"\t\tbell := l.bell.value() // before pending: a ring that comes later changes it\n\t\tset := s.Pending.Swap(0)\n",
		"\t\tset := s.Pending.Swap(0)\n\t\tbell := l.bell.value()\n",
		"The leader reads the bell before it takes what is pending."),
	one("sleeping-said-late", "^(mutex|event)", doorbellFile,
		"\tb.slot.Sleeping.Store(1)\n\tstep.Reach(step.WaitSleep)\n\tb.slot.Sleep(seen, d)\n",
		"\tif b.value() != seen {\n\t\treturn true\n\t}\n\tstep.Reach(step.WaitSleep)\n\tb.slot.Sleep(seen, d)\n\tb.slot.Sleeping.Store(1)\n",
		"A leader says that it sleeps before it does."),
	one("wake-one", "^(event|mutex|rwmutex)", waitFile,
		"\t\tring(s, bit)\n\t}\n", "\t\tring(s, bit)\n\t\tbreak\n\t}\n",
		"Wake rings every attachment with waiters."),
	one("no-new-leader", "^mutex-goroutines|^queue-local", parkingFile,
		"\tdefer func() { l.leadToken <- struct{}{} }()\n", "\tdefer func() { l.leadToken = nil }()\n",
		"A leader whose wait ends hands the lead on."),
	one("leader-not-rung-locally", "^queue-local|^event-local", parkingFile,
		"; w != nil && len(w.signal) > 0 {\n\t\tl.bell.ring()\n", "; false && w != nil {\n\t\tl.bell.ring()\n",
		"A waker in the same process wakes a leader that sleeps in the kernel."),
	one("cancel-wakes-no-leader", "^cancel", parkingFile,
		"\t\tdefer context.AfterFunc(ctx, l.wakeLeader)()\n", "",
		"The end of its context wakes a leader."),
	one("close-wakes-no-leader", "^event-close", parkingFile,
		"\tl.watches.close()\n\tl.bell.ring()\n", "\tl.watches.close()\n",
		"Close wakes the leader."),
	one("berth-sleeps-unchecked", "^berth", sentryFile,
		"\tif b.slot.Bell.Load() == seen {\n", "\tif true {\n",
		"A leader checks the bell after it has said that it sleeps."),
	one("sentry-not-told", "^berth", sentryFile,
		"\ts.berths = append(s.berths, b)\n\ts.changed()\n", "\ts.berths = append(s.berths, b)\n",
		"A sentry that sleeps is told of a new berth."),
	one("sentry-keeps-no-note", "^berth", sentryFile,
		"\t\t\tb.seen = bell\n\t\t\tb.ring()\n", "\t\t\tb.seen = bell\n",
		"A sentry rings the leaders whose bells have changed."),
	one("berth-kept-at-close", "^berth-close", doorbellFile,
		"\t\tp.leave()\n\t\tp.ring()\n", "\t\tp.ring()\n",
		"A sentry does not touch the memory of a mapping that is closed."),
	one("guest-not-offered", "^select-left", parkingFile,
		"\tdefer l.offerLead() // when the token is there\n", "",
		"A leader whose wait ends offers the lead to members of groups."),
	one("guest-not-offering", "^select-(beside|cancel)", groupFile,
		"\t\tl.leadToken <- struct{}{}\n", "\t\tl.leadToken = nil\n",
		"A member of a group that leads hands the lead on."),
	one("guest-not-told-of-close", "^select-close", parkingFile,
		"\tl.guests.ring(math.MaxInt)\n", "\t_ = math.MaxInt\n",
		"Close ends the wait of a group."),
	one("guest-sleeps-unchecked", "^select$", groupFile,
		"\t\tif l.bell.value() == bell {\n\t\t\treturn\n\t\t}\n\t}\n", "\t\tif bell == bell {\n\t\t\treturn\n\t\t}\n\t}\n",
		"A member that leads looks at the bell after it has said that it sleeps."),
	one("guest-not-rung", "^select", sentryFile,
		"\t\t\tif b.member != nil {\n", "\t\t\tif false {\n",
		"A sentry rings the member of a group that leads."),
	one("interest-lost", "^(queue|event)-local", oneFile,
		"b.unchosen--; b.unchosen == 0 && slot != nil {", "b.unchosen--; slot != nil {",
		"The slot's interest lasts as long as there are waiters."),
	one("turn-kept", "^mutex-goroutines", "internal/wait/turn.go",
		"\tt.token <- struct{}{}\n\tt.leave()\n", "\tt.leave()\n",
		"The end of a turn admits the next goroutine."),
	one("prober-not-replaced", "^rwmutex-goroutines", "internal/wait/probe.go",
		"next != w && next.probe.look != nil", "false && next != w && next.probe.look != nil",
		"When a prober's wait ends another waiter becomes the prober."),
	one("death-not-reported", "kill$", watchFile,
		"\tif sys.WaitProcess(f) == nil {\n", "\tif sys.WaitProcess(f) != nil {\n",
		"What the kernel tells of a death makes waiters look."),
	one("owner-not-followed", "^(box|rwmutex)-(kill|view|marked)", watchFile,
		"\tif owner != format.NoID {\n\t\tl.watchFor(w, owner)\n\t}\n", "\t_ = owner\n",
		"A waiter that finds a lock held by another attachment watches that one."),
	one("owner-found-by-leader-not-followed", "^(box|rwmutex)-(kill|view|marked)", watchFile,
		"\t\tif _, ended := l.watch(id); ended {\n\t\t\tl.buckets[k].reportDeath(id)\n\t\t}\n",
		"\t\t_ = id\n",
		"A leader watches the new holder for a waiter that cannot go on."),
	one("told-not-handed-on", "^rwmutex-told$", "internal/wait/probe.go",
		"if w.probe.found || w.probeNow.Load() {", "if next.probeNow.Store(false); w.probe.found {",
		"A prober that was told of a death and leaves hands that on."),
	one("leaves-woken-alone", "^mutex-leaving$", parkingFile,
		"\tif l.gave.Load() {\n", "\tif false {\n",
		"An attachment that closes leaves none that only it watches."),
}

// ones are flaws of waking as many waiters as can go on.
var ones = []Planted{
	one("baton-lost-by-failing", "^one-pass", parkingFile,
		"\tif left.chosen && *err != nil {\n", "\tif false {\n",
		"A waiter that was chosen and fails wakes another one."),
	one("baton-lost-behind-the-last", "^one-(strand|pass)", parkingFile,
		"\tif left.last && l.slot != nil {\n", "\tif false {\n",
		"The last waiter that leaves carries a baton that came meanwhile."),
	one("baton-counts-blindly", "^one-(strand|pass)", oneFile,
		"\tif s.Interest.Load()&bit != 0 {\n\t\tr.n--\n\t}\n", "\tr.n--\n",
		"A baton counts only if a waiter is still there."),
	one("baton-swallowed", "^one", oneFile,
		"if c.chosen > 0 || c.some && c.alike || !c.some && mine {", "if true || c.some || mine {",
		"A baton for which no waiter is there becomes a ring for all."),
	one("baton-of-another-counts", "^one", oneFile,
		"case old != 0 || !s.Baton.CompareAndSwap(0, uint64(r.baton)):\n\t\tring(s, bit)\n", "case old != 0 || !s.Baton.CompareAndSwap(0, uint64(r.baton)):\n\t\tring(s, bit)\n\t\tr.n--\n",
		"A slot with a baton of another object does not count."),
	one("chosen-arms-for-none", "^(queue|mutex|one)", oneFile,
		"\t\t\tarm(armed)\n\t\t\tisArmed = true\n", "\t\t\tisArmed = true\n",
		"The object is armed for waiters that are not chosen."),
	one("disarmed-though-left", "^(queue|mutex|one)", oneFile,
		"\tif !r.left {\n", "\tif true {\n",
		"The object stays armed while another attachment is interested."),
	one("taken-without-the-bit", "^mutex", lockFile,
		"\t\t\tas |= waiters //", "\t\t\t_ = waiters //",
		"A lock that a waiter takes keeps the waiters bit for the others."),
	one("reader-wakes-no-reader", "^one-readers", "psync/rwmutex.go",
		"\t\t\tif waited {\n", "\t\t\tif false && waited {\n",
		"A reader that was woken wakes others."),
	one("box-reader-wakes-no-reader", "^one-viewers", sharedFile,
		"\t\t\tif waited {\n", "\t\t\tif false && waited {\n",
		"A reader of a box that was woken wakes others."),
	quietly("permits-left-for-none", "^semaphore-namespaces$", "psync/semaphore.go",
		"\t\tif waited {\n\t\t\tr.passOn()\n", "\t\tif false && waited {\n\t\t\tr.passOn()\n",
		"A request that takes some of the permits of a dead process wakes another for the rest."),
	one("never-handed-over", "^one-hog$", lockFile,
		"\t\t\tto = reserved\n", "\t\t\tto = free\n",
		"A lock that was held for long is reserved for those that wait."),
	one("does-not-stand-back", "^one-hog$", lockFile,
		"\tstandBack(ctx, o, word, armed)\n", "",
		"What is reserved is left to those that wait."),
	one("leader-not-rung-for-a-baton", "^(queue-local|one)", oneFile,
		"\tl.watchAll(k, c.owners)\n\tl.ringLocal(0) //", "\tl.watchAll(k, c.owners)\n\t_ = 0 //",
		"A leader that is chosen in its own process is rung."),
	one("dead-keeps-its-baton", "^(mutex|cond|queue|one).*kill", watchFile,
		"\t\tif l.retireBaton(id) {\n", "\t\tif false {\n",
		"The death of a process that had a baton makes all waiters look."),
	one("tenant-rings-none", "^one-tenant$", "internal/segment/attach.go",
		"\tif a.succeeds {\n", "\tif false {\n",
		"An attachment that takes the slot of a dead one makes all waiters look."),
}

// locks are flaws of internal/robust, internal/mem and psync.
var locks = []Planted{
	one("no-generation", "^mutex-reuse", peersFile,
		" || p.Slot(slot).Gen.Load() != id.Gen() {", " {\n\t\treturn false\n\t}\n\tif held, _ := p.file.Held(sys.SlotByte+int64(slot), 1); held {\n\t\treturn true\n\t}\n\tif false {",
		"The next attachment in a slot is not taken for the last one."),
	one("alive-by-pid", "kill", peersFile,
		"\theld, err := p.file.Held(sys.SlotByte+int64(slot), 1)\n", "\theld, err := p.Slot(slot).PID.Load() != 0, error(nil)\n",
		"Whether an attachment lives is determined by its lock byte."),
	quietly("mark-dead-wakes-none", "^mutex-namespaces", lockFile,
		"\tstep.Reach(step.LockDead)\n\twait.Wake(o.M, armed)\n", "\tstep.Reach(step.LockDead)\n",
		"Who finds a holder dead wakes the other waiters."),
	one("unlock-wakes-none", "^mutex", lockFile,
		"\t\tcase how != all:\n\t\t\tif !wait.WakeAny(o.M, armed) && to == reserved {", "\t\tcase how != all:\n\t\t\tif to == reserved {",
		"Unlock wakes the waiters."),
	quietly("take-over-forgets-waiters", "^once-namespaces", lockFile,
		"\t\tif !word.CompareAndSwap(w, as|w&waiters) {\n\t\t\treturn false, false, nil\n\t\t}\n\t\tAcquired(o, word)\n\t\tstep.Reach(step.LockOver)",
		"\t\tif !word.CompareAndSwap(w, as) {\n\t\t\treturn false, false, nil\n\t\t}\n\t\tAcquired(o, word)\n\t\tstep.Reach(step.LockOver)",
		"A lock that is taken over keeps the bit of its waiters."),
	one("steals-from-the-living", "^mutex", lockFile,
		"case holder != format.Dead && (!probe || o.Alive(holder)):", "case holder != format.Dead && !probe:",
		"Nothing is taken from a holder that lives."),
	one("waiters-bit-blindly", "^mutex", lockFile,
		"\tif w&waiters == 0 && !word.CompareAndSwap(w, w|waiters) {\n\t\treturn 0, false\n\t}\n", "\tword.Store(w | waiters)\n",
		"A waiter sets its bit only in the word that it has seen."),
	one("keeps-what-it-took", "^close", "internal/robust/object.go",
		"\tif o.M == nil || o.M.UnpinOpen() {\n\t\tpinned = false\n\t\treturn nil\n\t}\n\tgiveBack()\n\treturn errs.Closed\n",
		"\treturn nil\n",
		"A call that is in flight when Close begins holds nothing."),
	one("closing-waits-for-no-holder", "^close-holding", "internal/mem/mapping_unsafe.go",
		"f != nil && m.exposed.Load() {", "f != nil && false {",
		"Close lets a goroutine unlock whose call has just returned."),
	one("closing-ends-unlocking", "^close-holding", "internal/mem/wait_unsafe.go",
		"\tif n == retiring {\n", "\tif n < 0 {\n",
		"Unlock succeeds while Close waits for it."),
	one("closing-locks-on", "^close-late", "internal/mem/mapping_unsafe.go",
		"\tm.lockID.Store(0) // locks are not taken without a pin from now on\n", "",
		"Nothing is locked any more when Close has begun."),
	one("cond-keeps-the-mutex", "^close-cond-wait", "psync/cond.go",
		"\t\tif err != nil && locked {\n", "\t\tif false && locked {\n",
		"Cond.Wait that fails has unlocked the mutex."),
	one("cond-locks-and-fails", "^cond-failing$", "psync/cond.go",
		"\tif err != nil {\n\t\treturn err\n\t}\n\treturn mu.lock(ctx)\n", "\tif err != nil {\n\t\t_ = mu.lock(context.Background())\n\t\treturn err\n\t}\n\treturn mu.lock(ctx)\n",
		"Cond.Wait that fails does not hold the mutex."),
	one("tries-ask-each-time", "^mutex-trying$", peersFile,
		"\tif known.Load() == entry {\n", "\tif false {\n",
		"A try at a held lock makes no system call when its holder lived a moment ago."),
	one("frees-unpinned", "^close-rwmutex-drain", "psync/rwmutex.go",
		"\t\terr := drain()\n\t\tif err != nil {\n\t\t\tfree()\n\t\t}\n\t\treturn err\n\t}, free)\n", "\t\treturn drain()\n\t}, free)\n\tif err != nil && pinned {\n\t\tfree()\n\t}\n",
		"A lock is freed while the memory is pinned."),
	one("marks-looked-at-twice", "^rwmutex-late-mark$", "psync/rwmutex.go",
		"\tnone := true\n\tfor i := range rw.marks {", "\tif rw.noReaders() {\n\t\treturn true\n\t}\n\tnone := false\n\tfor i := range rw.marks {",
		"A writer looks at each reader's mark once before it sleeps."),
	one("late-reader-unwatched", "^box-late-reader$", sharedFile,
		"\t\t\tif !slices.Contains(known, id) {\n\t\t\t\treturn true\n\t\t\t}\n", "",
		"A writer watches readers that come while it waits."),
	one("ended-before-opened", "^(mutex|once|semaphore)", watchFile,
		"\t\tif !l.m.Peers.Alive(id) { // the process ended since the caller checked\n\t\t\tl.found(id)\n\t\t}\n", "",
		"A death between the look at the lock byte and the opening of the descriptor is reported."),
	{flaws.Flaw{Name: "reader-checks-once", Breaks: "A reader looks for a writer after it has set its mark.",
		Edits: []flaws.Edit{
			{File: "psync/rwmutex.go", Old: "\tstep.Reach(step.RLockMark)\n\tif rw.w.Word.Load() != 0 {",
				New: "\tstep.Reach(step.RLockMark)\n\tif false {"},
			{File: "psync/rwmutex.go", Old: "\tstep.Reach(step.RLockMark)\n\tif rw.w.Word.Load() == 0 {",
				New: "\tstep.Reach(step.RLockMark)\n\tif true {"},
		}}, "^rwmutex"},
	one("writer-does-not-wait", "^rwmutex", "psync/rwmutex.go",
		"\tif !held || !rw.noReaders() {\n\t\terr := rw.lockSlow(o, held, func() error {\n\t\t\t_, err := robust.Acquire", "\tif !held {\n\t\terr := rw.lockSlow(o, held, func() error {\n\t\t\t_, err := robust.Acquire",
		"A writer waits for readers."),
	one("permits-of-the-dead", "^semaphore", "psync/request.go",
		"\tif !free || p == nil {\n\t\ts.sweep(r.o)\n\t\tp, free = r.look()\n\t}\n", "",
		"Permits of the dead are free again."),
	one("nothing-reserved", "^semaphore-large", "psync/request.go",
		"\tcase now.Before(r.due):\n", "\tcase true:\n",
		"A request that waits for long reserves permits."),
	one("one-turn-for-all", "^semaphore-unservable$", "psync/semaphore.go",
		"wait.TurnOf(ctx, o.M, &s.armed, n)", "wait.TurnOf(ctx, o.M, &s.armed, 0)",
		"A request that cannot be served is in no other's way."),
	one("release-wakes-none", "^semaphore", "psync/semaphore.go",
		"\t\twait.WakeN(o.M, &s.armed, int(min(n, maxWoken)))\n", "",
		"Release wakes those who wait for permits."),
	one("set-twice-wakes-none", "^event", "psync/event.go",
		"\t\tto := s\n\t\tswitch {\n", "\t\tto := s\n\t\tif s.set() {\n\t\t\treturn nil\n\t\t}\n\t\tswitch {\n",
		"Set wakes the waiters also if the event was set already."),
	{flaws.Flaw{Name: "set-takes-promises", Breaks: "Set ends no promise for the next time.", Edits: []flaws.Edit{
		{File: "psync/event.go", Old: "to = s.next().promised(format.NoID)", New: "to = s.next()"},
		{File: "psync/event.go", Old: "\twait.Wake(o.M, &e.armed)\n\treturn nil\n}\n\n// Reset",
			New: "\twait.Wake(o.M, &e.armed)\n\tif e.load().promiser() != format.NoID {\n\t\te.state.And(^uint64(1<<32 - 1))\n\t}\n\treturn nil\n}\n\n// Reset"},
	}}, "^event-promises$"},
	one("promise-wakes-none", "^event-promise-late$", "psync/event.go",
		"\twait.Wake(o.M, &e.armed) // those who wait watch this attachment now\n", "",
		"Those who wait for an event watch an attachment that promises it meanwhile."),
	one("signal-before-wait-lost", "^cond", "psync/cond.go",
		"return c.count.Load() != was", "return c.count.Load() != was && false || c.count.Load() > was+1",
		"A signal that comes while Wait unlocks ends Wait."),
	one("once-done-early", "^once", "psync/once.go",
		"\tif err := c.call(); err != nil {", "\to.done.Store(1)\n\tif err := c.call(); err != nil {",
		"Once counts a function as run when it has returned."),
	one("once-marked", "^once", "psync/once.go",
		"robust.TakeOver); err != nil {", "robust.Mark); err != nil {",
		"The next process runs the function of a Once when one has died in it."),
}

// access are flaws of the box's lock, image and snapshots.
var access = []Planted{
	one("no-restore", "^box", "internal/value/lock.go",
		"\tif !v.consistent() {\n\t\tif v.image == 0 {", "\tif false {\n\t\tif v.image == 0 {",
		"A change that a process died over is undone."),
	{flaws.Flaw{Name: "odd-after-change", Breaks: "The counter is odd before the payload changes.", Edits: []flaws.Edit{
		{File: valueFile, Old: "\t*phase = Begun\n\tv.setOdd()\n", New: "\t*phase = Begun\n"},
		{File: valueFile, Old: "\t\tstep.Reach(step.UpdateRan)\n\t\tv.setEven()\n", New: "\t\tstep.Reach(step.UpdateRan)\n\t\tv.setOdd()\n\t\tv.setEven()\n"},
	}}, "^box"},
	one("image-after-odd", "^box", valueFile,
		"\t\tv.storeLocal(v.image, src)\n\t\tstep.Reach(step.StoreImage)\n\t\tv.setOdd()\n", "\t\tv.setOdd()\n\t\tv.storeLocal(v.image, src)\n\t\tstep.Reach(step.StoreImage)\n",
		"The image is complete before the counter is odd."),
	one("no-image", "^box", valueFile,
		"\t\tv.copyShared(v.image, 0, step.UpdateWord)\n", "",
		"Update copies the value to the image first."),
	{flaws.Flaw{Name: "load-unchecked", Breaks: "Load checks that the value has not changed meanwhile.", Edits: []flaws.Edit{
		{File: valueFile, Old: "\t\tv.loadLocal(dst, 0)\n\t\tif seq.Load() == before {\n", New: "\t\tv.loadLocal(dst, 0)\n\t\tif true {\n"},
		{File: valueFile, Old: "\t\tv.loadLocal(dst, src)\n\t\tif seq.Load() == before {\n", New: "\t\tv.loadLocal(dst, src)\n\t\tif true {\n"},
	}}, "^box"},
	one("load-from-payload", "^box", valueFile,
		"\t\t\tif src = v.image; src == 0 { // half changed, and no image\n", "\t\t\tif v.image == 0 {\n",
		"Load reads the image while the counter is odd."),
	one("load-does-not-wait", "^box-marked-load$", valueFile,
		"\tif !v.writable {\n\t\treturn errLoad\n", "\tif !v.writable || v.image == 0 && !v.consistent() {\n\t\treturn errLoad\n",
		"Without an undo image Load waits for a change that is under way."),
	one("view-checks-once", "^box-view", sharedFile,
		"\t\tstep.Reach(step.RLockMark)\n\t\tif w.Load() != free {", "\t\tstep.Reach(step.RLockMark)\n\t\tif false {",
		"A reader of a box looks for a writer after it has set its mark."),
	one("update-does-not-wait", "^box-view", sharedFile,
		"\tif s.noMarks() || wait.Spin(", "\tif true || wait.Spin(",
		"A writer of a box waits for readers."),
	one("change-wakes-none", "^box-wait", valueFile,
		"\t\tstep.Reach(step.UpdateEven)\n\t\twait.Wake(v.m, &v.words.SeqArmed)\n", "\t\tstep.Reach(step.UpdateEven)\n",
		"Update wakes those who wait for a change."),
}

// rings are flaws of internal/ring, queue and topic.
var rings = []Planted{
	one("ring-none-is-dead", "^(queue|bytes)-kill", "internal/ring/mpmc.go",
		"\t\tk.id, k.last = id, k.alive(id)\n", "\t\tk.id, k.last = id, true\n",
		"Claims and leases of the dead end."),
	one("ring-skips-the-living", "^queue", "internal/ring/mpmc.go",
		"case d == 0 && s == claimed && !live.is(w.id()):\n", "case d == 0 && s == claimed:\n",
		"Repair leaves the claims of the living alone."),
	one("ring-returns-the-living's", "^(queue|bytes)-(leases|local)", "internal/ring/leases.go",
		"\t\tcase !live.is(w.id()) || ", "\t\tcase w.id() != 0 || ",
		"Repair leaves the leases of the living alone."),
	one("ring-forgets-suspects", "^(queue|bytes)-leases", "internal/ring/leases.go",
		"\tback = back && r.suspect()\n", "",
		"Leases of the dead come again."),
	one("ring-claim-full", "^queue", "internal/ring/mpmc.go",
		"\t\tcase d == -1 && w.state() != free && w.state() != end:\n\t\t\treturn 0, 0, ErrFull\n",
		"\t\tcase d == -1 && w.state() == ready:\n\t\t\tif cas(\"claim.slot\", &r.slots[i], uint64(w), uint64(named(claimed, lap, self))) {\n\t\t\t\tadvance(\"claim.advance\", &r.h.Tail, t, t+1)\n\t\t\t\treturn t, 1, nil\n\t\t\t}\n\t\tcase d == -1 && w.state() != free && w.state() != end:\n\t\t\treturn 0, 0, ErrFull\n",
		"A full ring overwrites nothing."),
	one("ring-ends-early", "^queue-leases", "internal/ring/leases.go",
		"r.lease(p) != 0 {\n\t\t\treturn ErrHeld\n", "r.lease(p) != 0 {\n\t\t\treturn ErrClosed\n",
		"The stream does not end while a message may come again."),
	{flaws.Flaw{
		Name: "lease-same-name", Breaks: "A lease on a redelivered message has another word than the first one.",
		Edits: []flaws.Edit{
			{File: "internal/ring/lease.go", Old: "uint64(named(again, lap, self))) {\n\t\t\treturn p,",
				New: "uint64(named(taken, lap, self))) {\n\t\t\treturn p,"},
			{File: "internal/ring/lease.go", Old: "return r.release(self, pos, again)", New: "return r.release(self, pos, taken)"},
		},
	}, "^queue-lost-lease$"},
	one("lease-late-done", "^queue-lost-lease$", "queue/leases.go",
		"\tif r.last[pos] != serial {\n\t\treturn ring.ErrNotHeld\n\t}\n", "\t_, _ = ring.ErrNotHeld, serial\n",
		"Of two leases that one attachment had on a redelivered message, the first has ended."),
	one("wait-keeps-the-wakeup", "^queue-wait$", "queue/many.go",
		"\tt := tries{waited: true}\n\tdefer q.passMessage(&t)\n", "",
		"What waits and receives nothing wakes the next one."),
	one("end-wakes-none", "^(queue|bytes)", "queue/many.go",
		"\tstep.Reach(step.QueueEnded)\n\tq.wakeAll()\n", "\tstep.Reach(step.QueueEnded)\n",
		"End wakes receivers."),
	one("room-wakes-none", "^(queue|bytes|one-room)", "queue/many.go",
		"\twait.WakeN(q.M, &q.header.SendArmed, n)\n", "",
		"A receiver wakes senders that wait for room."),
	one("single-room-wakes-none", "^(queue|bytes)-single", "queue/single.go",
		"\tstep.Reach(step.QueueReleased)\n\tq.wakeSender()\n", "\tstep.Reach(step.QueueReleased)\n",
		"The receiver of a Single queue wakes a sender that waits for room."),
	one("no-more-repairs", "^queue-polling$", "internal/stream/attachment.go",
		"func() { a.rests.Store(false) })", "func() {})",
		"A call that does not block repairs from time to time."),
	one("try-looks-at-the-clock", "^queue-try-clock", "internal/stream/attachment.go",
		"\tif a.rests.Load() ||", "\tif time.Now().IsZero() || a.rests.Load() ||",
		"A call that does not block looks at no clock."),
	one("end-closes-unrung", "^ends-close", "internal/stream/stop.go",
		"\t\tclose(s.stopped)\n\t\twait.Rouse(m)\n", "\t\tclose(s.stopped)\n\t\t_ = wait.Rouse\n",
		"Close of a sender or receiver wakes its call where that leads."),
	one("stream-waits-for-the-dead", "^bytes-stream$", "queue/waiter.go",
		"\t_, gone := w.peer()\n\treturn gone\n", "\tw.peer()\n\treturn false\n",
		"A stream whose other end has died ends."),
	one("stream-cut-short", "^bytes-stream$", "queue/singlebytes.go",
		"\t\tb, err = r.ring.Next()\n\t\tif err == nil {\n\t\t\tbreak\n\t\t}\n\t\tif gone ",
		"\t\tb, err = r.ring.Next()\n\t\tif err == nil {\n\t\t\tbreak\n\t\t}\n\t\tif gone = r.q.recvSide.waiter.peerGone(); gone ",
		"The reader of a stream looks once more when it has found the death of the writer."),
	one("batch-kept", "^bytes-batch", "queue/singlebytes.go",
		"\t\t\t\ts.flush() // room comes only if the receiver sees these\n", "",
		"SendBatch publishes what it has written before it waits for room."),
	one("published-before-written", "^queue", "queue/queue.go",
		"\t\t\tmem.Assign(&q.items[e.mpmc.Index(pos)], v)\n\t\t\tif err := e.mpmc.PublishFence(e.Self, pos); err != nil {\n\t\t\t\treturn e.sendErrors.Corrupt(err)\n\t\t\t}\n",
		"\t\t\tif err := e.mpmc.PublishFence(e.Self, pos); err != nil {\n\t\t\t\treturn e.sendErrors.Corrupt(err)\n\t\t\t}\n\t\t\tmem.Assign(&q.items[e.mpmc.Index(pos)], v)\n",
		"A message is written before it is published."),
	one("hold-ignored", "^topic-holds", "internal/ring/broadcast.go",
		"\t\tlow = p.lookAtHolds(t)\n", "\t\tlow = t\n",
		"Publishers wait for subscriptions with holds."),
	one("topic-read-unchecked", "^topic", "internal/ring/broadcast.go",
		"\tif !c.r.Valid(c.pos) {\n\t\treturn ErrLapped\n\t}\n", "",
		"A message that was overwritten while it was read does not count."),
	one("topic-skips-the-living", "^topic-kill", "internal/ring/broadcast.go",
		"\t\tif live.is(w.id()) {\n\t\t\tcontinue\n\t\t}\n\t\tmore = ", "\t\tmore = ",
		"Repair leaves the claims of living publishers alone."),
	one("topic-room-wakes-none", "^topic-holds", "internal/stream/subscription.go",
		"\tif s.held {\n\t\twait.Wake(s.t.M, &s.t.Header.SendArmed)\n\t}\n", "",
		"A subscription with a hold wakes publishers that wait for it."),
}
